#pragma once
// What can be known before anything is computed is checked before anything is computed: by the dry
// run, and at the start of an attempt.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

#include "refract/lm/language_model.hpp"
#include "refract/order/contexts.hpp"
#include "refract/pipeline/ledger.hpp"
#include "refract/pipeline/run_config.hpp"
#include "refract/pipeline/run_folder.hpp"
#include "refract/stages/download.hpp"
#include "refract/stages/tokenize.hpp"
#include "refract/tokenizer/tokenizer.hpp"

namespace refract {

// How contexts are made for this model. ConfigError when tokens.context exceeds its positions or
// tokens.bos needs an id that config.json does not name; DataError for an id beyond its vocabulary.
[[nodiscard]] ContextRule context_rule(const RunConfig& config, const ModelInfo& model);
// The model's tokenizer; DataError when it cannot be read or has ids beyond the model's vocabulary.
[[nodiscard]] std::unique_ptr<Tokenizer> open_tokenizer(const RunConfig& config,
                                                        const ModelInfo& model);
// tokens/<digest>/contexts-<digest>: the rule, what is held out, the tokens.
[[nodiscard]] std::filesystem::path contexts_folder(const RunConfig& config,
                                                    const ContextRule& rule,
                                                    const TokenizePlan& tokens);

// The file in there of a window's order: window-000-<digest>.h5, by what shapes the order of the
// rows.
[[nodiscard]] std::string window_name(const RunConfig& config, std::uint64_t window);

struct KnownBefore {
  ModelInfo model;
  // Rows to train on, where the whole corpus is tokenized already and its contexts are there.
  std::optional<std::uint64_t> corpus_rows;
};

// Rank 0; reads headers and tables, writes nothing, loads no weights. `corpus` is the source's
// listing. Asks::corpus: the tokenizer and the contexts alone. Throws what the run would throw
// later, each naming the setting and where it was given:
//   hook points that the model lacks; weights that are missing, cut short, or of other shapes;
//   contexts longer than the model's positions; a tokenizer that cannot be read or is of another
//   model; a train.tokens beyond a corpus whose rows are known; a quota below what is certain.
KnownBefore check_before_start(const RunConfig& config, const DownloadPlan& corpus,
                               Asks asks = Asks::everything);

// For the dry run: ConfigError when the run's folder holds a run of other settings, or of another
// corpus, with the words of the run's refusal; a corpus is compared where the digests of its shards
// are known. training_ranks: of the start that is planned, 0 where numerics are not to be compared.
void expect_same_run(const RunConfig& config, int training_ranks);

// Whether anything depends on the settings of the store yet.
[[nodiscard]] bool store_exists(const RunFolder& folder, const RunState& state);

}  // namespace refract
