#pragma once
// What every part of one run shares: configuration, folders, model, tokenised corpus, order of samples,
// calibration. Parts are opened when first needed; all of it is the same on every rank.
#include <memory>
#include <string>
#include <vector>

#include "refract/comm/communicator.hpp"
#include "refract/lm/language_model.hpp"
#include "refract/pipeline/ledger.hpp"
#include "refract/pipeline/run_config.hpp"
#include "refract/pipeline/run_folder.hpp"
#include "refract/stages/block_rows.hpp"
#include "refract/stages/tokenize.hpp"
#include "refract/store/calibration.hpp"
#include "refract/store/manifest.hpp"

namespace refract {

class Session {
 public:
  Session(RunConfig config, Communicator& world);

  [[nodiscard]] const RunConfig& config() const { return config_; }
  [[nodiscard]] const RunFolder& folder() const { return folder_; }
  [[nodiscard]] Communicator& world() { return world_; }
  [[nodiscard]] const std::vector<HookPoint>& hooks() const { return hooks_; }
  [[nodiscard]] const RowRule& row_rule() const { return row_rule_; }
  [[nodiscard]] const ModelInfo& model_info();
  [[nodiscard]] const LanguageModel& model();
  [[nodiscard]] const Tokenizer& tokenizer();

  // Download and tokenize what train.tokens needs, build contexts; fills corpus() and order(). Whole shards that
  // exist are left alone. Returns true when anything was made.
  bool prepare_corpus();
  [[nodiscard]] TokenCorpus& corpus() { return *corpus_; }
  [[nodiscard]] const SampleOrder& order() const { return *order_; }
  [[nodiscard]] const std::string& tokens_digest() const { return tokens_digest_; }
  [[nodiscard]] std::uint64_t corpus_bytes() const { return corpus_bytes_; }  // shards and tokens on disk
  [[nodiscard]] const std::vector<std::string>& shard_names() const { return shard_names_; }

  // Calibration and held-out rows: made once, then read. true when anything was made.
  bool prepare_store();
  [[nodiscard]] const CalibrationData& calibration() const { return calibration_.data; }
  [[nodiscard]] const std::string& store_digest() const { return store_digest_; }
  [[nodiscard]] std::vector<double> sink_thresholds() const;
  [[nodiscard]] HeldoutPlan heldout_plan();

  [[nodiscard]] std::uint64_t visits() const;
  [[nodiscard]] std::uint64_t total_steps() const;
  [[nodiscard]] ChunkVisit visit(std::uint64_t visit) const;
  [[nodiscard]] ChunkSpec chunk_spec(const ChunkShape& shape) const;
  [[nodiscard]] std::string training_digest(std::size_t sae) const;  // what a checkpoint of it must carry

 private:
  [[nodiscard]] std::vector<std::uint8_t> special_ids();
  [[nodiscard]] ContextRule context_rule();
  bool prepare_shard(const stages::TokenizePlan& plan, std::size_t shard, const fs::path& contexts_folder,
                     std::unordered_set<std::uint64_t>& seen_documents);
  void add_window(std::uint32_t first_shard, std::uint32_t last_shard);
  void collective_write_heldout();

  RunConfig config_;
  Communicator& world_;
  RunFolder folder_;
  std::vector<HookPoint> hooks_;
  RowRule row_rule_;
  std::unique_ptr<ModelInfo> model_info_;
  std::unique_ptr<LanguageModel> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<TokenCorpus> corpus_;
  std::unique_ptr<SampleOrder> order_;
  std::vector<ContextRef> first_window_;
  std::vector<std::string> shard_names_;
  std::string tokens_digest_, contexts_digest_, store_digest_;
  std::uint64_t corpus_bytes_ = 0;
  Calibration calibration_;
};

}  // namespace refract
