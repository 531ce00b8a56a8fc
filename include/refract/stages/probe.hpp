#pragma once
// What does feature f mean: density, strongest rows with their text, keywords, the readability
// measure of SPEC section 8, nearest neighbours. Reads retained chunks, held-out rows and token
// shards.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "refract/analysis/readability.hpp"
#include "refract/sae/variant.hpp"
#include "refract/stages/features.hpp"
#include "refract/stages/normalised_hooks.hpp"
#include "refract/store/chunk.hpp"

namespace refract {

struct ProbeConfig {
  std::uint64_t examples = 20;  // strongest rows kept per feature, at most 3 of one document
  // Training rows read, rounded down to whole blocks (at least one), spread over the chunks.
  std::uint64_t tokens = 500'000;
};

// Feature activations of normalised rows x [n, D]; first_row aligns panels. The trained SAE, the
// frozen-random SAE (initial_parameters with Purpose::random_control) and raw neurons are probed
// through this one type.
using Encoder =
    std::function<void(TensorView<const float> x, std::size_t first_row, SparseActs& acts)>;

[[nodiscard]] Encoder sae_encoder(const Variant& variant,
                                  const SaeParameters& parameters);  // both borrowed
// Raw neurons: feature f is ReLU(x_f - centre_f), of which the k largest of a row are kept (ties:
// lower f). The trial's control: callers give k = min(SAE's k, d_in / 2).
[[nodiscard]] Encoder neuron_encoder(std::vector<float> centre, std::size_t k);

struct ProbeSources {
  std::vector<std::filesystem::path> shards;  // token shards by shard ordinal
  std::vector<std::filesystem::path> chunks;  // retained chunks, in order
  std::filesystem::path heldout;              // heldout.h5
  Parents parents = {};                       // that chunks and heldout.h5 must have
  std::uint64_t seed = 1;                     // of the random held-out windows (Purpose::negatives)
};

inline constexpr std::uint32_t kNoRow = 0xFFFFFFFFu;

// A document that rows were read of.
struct ProbeDocument {
  std::string title, url, text;
  std::vector<ByteSpan> tokens;  // byte spans in `text`
  std::vector<std::uint32_t>
      training_row;  // [tokens] index into ProbeCorpus::training(), or kNoRow
};

// The rows and texts that every probe of one run shares: loaded once. Memory: 32 bytes per row
// read, and the documents they come from. One chunk or token shard is open at a time, however many
// there are.
class ProbeCorpus {
 public:
  // Rows [first, first + rows) of one chunk file, whole blocks; row `first` is row `at` of the
  // corpus.
  struct Piece {
    std::filesystem::path chunk;
    std::uint64_t first = 0, rows = 0, at = 0;
  };

  ProbeCorpus(const ProbeSources& sources, const ProbeConfig& config);

  [[nodiscard]] const ProbeConfig& config() const { return config_; }
  [[nodiscard]] ChunkReader open(const Piece& piece) const {
    return ChunkReader(piece.chunk, parents_);
  }
  [[nodiscard]] const std::vector<Piece>& training_pieces() const { return training_pieces_; }
  [[nodiscard]] const std::vector<Piece>& heldout_pieces() const { return heldout_pieces_; }
  // Every row read, excluded ones too: those have no document position or are masked by the hook.
  [[nodiscard]] const std::vector<TextRow>& training() const { return training_; }
  [[nodiscard]] const std::vector<TextRow>& heldout() const { return heldout_; }
  [[nodiscard]] std::uint64_t training_documents() const { return training_documents_; }
  [[nodiscard]] std::uint64_t heldout_documents() const {
    return documents_.size() - training_documents_;
  }
  [[nodiscard]] const ProbeDocument& document(std::uint64_t id) const { return documents_.at(id); }
  [[nodiscard]] const WordCorpus& words() const { return words_; }
  [[nodiscard]] const Background& background() const { return background_; }  // training documents
  [[nodiscard]] const std::vector<TextRow>& negatives() const {
    return negatives_;
  }  // random held-out rows

 private:
  void add_documents(const ProbeSources& sources);
  void draw_negatives(std::uint64_t seed, std::size_t count);
  ProbeConfig config_;
  Parents parents_;
  std::vector<Piece> training_pieces_, heldout_pieces_;
  std::vector<TextRow> training_, heldout_, negatives_;
  std::unordered_map<std::uint64_t, ProbeDocument> documents_;
  std::uint64_t training_documents_ = 0;
  WordCorpus words_;
  Background background_;
};

struct ProbeTarget {
  std::string name;  // of the SAE or control
  std::string task;  // what its progress lines begin with: "probe big"
  std::string hook;  // of its input, as people read it (hook_text): blocks.4.hook_resid_post
  std::vector<NormalisedHook> input;  // what `encode` takes
  std::size_t features = 0;
  Encoder encode;
  const SaeParameters* parameters = nullptr;  // for nearest neighbours; none for raw neurons
};

// Everything about every feature. Memory: 16 bytes per activation of the rows read
// (rows x L0), so probe.tokens bounds it. A stop point at every step (base/stop.hpp).
[[nodiscard]] FeatureAtlas probe(const ProbeCorpus& corpus, const ProbeTarget& target);
// Only the count: the same measure by the same code, for controls.
[[nodiscard]] ReadableCount count_readable(const ProbeCorpus& corpus, const ProbeTarget& target);

// `refract probe --feature 28`: the terminal's page of one feature. `color` marks firing tokens by
// ANSI colours, otherwise by brackets. Throws ConfigError when the feature does not exist.
[[nodiscard]] std::string describe_feature(const FeatureAtlas& atlas, std::size_t feature,
                                           bool color);

}  // namespace refract
