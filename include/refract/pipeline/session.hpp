#pragma once
// What every part of one run shares: configuration, folders, model, tokenised corpus, order of
// samples, calibration. Parts are opened when first needed and are the same on every rank; corpus
// and order grow while shards are admitted, and a rank knows as many of them as its last ticket
// told it.
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "refract/base/error.hpp"
#include "refract/comm/communicator.hpp"
#include "refract/lm/language_model.hpp"
#include "refract/pipeline/ledger.hpp"
#include "refract/pipeline/run_config.hpp"
#include "refract/pipeline/run_folder.hpp"
#include "refract/stages/block_rows.hpp"
#include "refract/stages/tokenize.hpp"
#include "refract/store/calibration.hpp"
#include "refract/store/chunk.hpp"
#include "refract/store/claim.hpp"
#include "refract/store/manifest.hpp"

namespace refract {

// What a run is made from, by content. Found once by world rank 0, the same on every rank.
struct RunInputs {
  std::string model_digest;  // of config.json and the weights
  DownloadPlan corpus;
  ClaimMark claim;  // on the run, for every rank to look at before it renames
  // The run's own store was begun with these settings and inputs: a file in it that does not fit
  // them was put there, and is made again like a damaged one.
  bool own_store = false;
};

class Session {
 public:
  // trains: false for a command that ends before training, which needs no batch.
  Session(RunConfig config, Communicator& world, bool trains = true);

  [[nodiscard]] const RunConfig& config() const { return config_; }
  [[nodiscard]] const RunFolder& folder() const { return folder_; }
  [[nodiscard]] Communicator& world() { return world_; }
  [[nodiscard]] const std::vector<HookPoint>& hooks() const { return hooks_; }
  [[nodiscard]] const RowRule& row_rule() const { return row_rule_; }
  [[nodiscard]] const ModelInfo& model_info();
  [[nodiscard]] const LanguageModel& model();
  [[nodiscard]] const Tokenizer& tokenizer();

  // World rank 0: lists the source, checks what can be known before anything is computed
  // (preflight.hpp), and digests the model's files unless that was done before.
  [[nodiscard]] RunInputs find_inputs(Asks asks = Asks::everything);
  // Collective over the world; rank 0 says what it found.
  void collective_open(const RunInputs& found);
  [[nodiscard]] const RunInputs& inputs() const { return inputs_; }
  // SystemError when another job took the run over. Before each rename of what the run owns.
  void expect_own_run() const { expect_own(inputs_.claim); }
  [[nodiscard]] std::uint64_t shards() const { return tokenize_plan_.shards.size(); }
  // Work of one rank on one shard; whole files that exist are left alone. tick() is called while it
  // goes on. true when anything was made.
  bool download_shard(std::uint64_t shard, const std::function<void()>& tick);
  bool tokenize_shard(std::uint64_t shard, const std::function<void()>& tick);
  // World rank 0, for tokenized shards in order: duplicates, held-out membership and contexts,
  // written beside the tokens; then as admit_shards. true when anything was made.
  bool admit_next_shard();
  void verify_tokens(std::uint64_t shard) const;  // Damaged when any byte of its file changed
  // The first `shards` shards have contexts: takes up those not yet known, so that corpus() and
  // order() grow.
  void admit_shards(std::uint64_t shards);
  [[nodiscard]] std::uint64_t admitted() const { return corpus_->shards(); }
  [[nodiscard]] bool corpus_complete() const { return order_->complete(); }
  [[nodiscard]] bool first_window_known() const {
    return order_->complete() || !first_window_.empty();
  }
  void end_download();  // world rank 0, after the last shard: the index of what was fetched
  [[nodiscard]] TokenCorpus& corpus() { return *corpus_; }
  [[nodiscard]] const SampleOrder& order() const { return *order_; }
  // Bytes of shards and tokens that the run keeps on disk; estimated from the first window while
  // the corpus streams, so that it is the same whenever it is asked for.
  [[nodiscard]] std::uint64_t corpus_bytes() const;

  // Calibration and held-out rows: made once by the ranks that extract, then read by all. What is
  // there is verified, and made again where it is damaged. true when anything was made.
  bool collective_prepare_store(Communicator& ranks);
  void open_store();  // reads the calibration; it exists
  [[nodiscard]] bool store_is_open() const { return !store_digest_.empty(); }
  [[nodiscard]] ChunkReader open_heldout() const;
  [[nodiscard]] ChunkReader open_chunk(std::uint64_t chunk) const;
  [[nodiscard]] const CalibrationData& calibration() const { return calibration_.data; }
  [[nodiscard]] const std::string& calibration_digest() const {
    return calibration_.content_digest;
  }
  [[nodiscard]] const std::string& store_digest() const { return store_digest_; }
  [[nodiscard]] std::vector<double> sink_thresholds() const;
  [[nodiscard]] HeldoutPlan heldout_plan();

  // Of the whole run: planned while the corpus streams, exact once it is complete.
  [[nodiscard]] std::uint64_t train_rows() const;
  [[nodiscard]] std::uint64_t chunks() const;
  [[nodiscard]] std::uint64_t visits() const;
  [[nodiscard]] std::uint64_t total_steps() const;
  [[nodiscard]] ChunkVisit visit(std::uint64_t visit) const;
  [[nodiscard]] ChunkSpec chunk_spec(const ChunkShape& shape) const;
  [[nodiscard]] std::string training_digest(
      std::size_t sae) const;  // what a checkpoint of it must carry

 private:
  [[nodiscard]] std::vector<std::uint8_t> special_ids();
  [[nodiscard]] ContextRule context_rule();
  [[nodiscard]] CorpusShard files_of(std::uint64_t shard) const;
  [[nodiscard]] std::string store_settings_text();
  void admit(std::uint64_t shard);
  [[nodiscard]] bool contexts_are_whole(const CorpusShard& files, const std::string& tokens) const;
  [[nodiscard]] Parents calibration_parents();
  void say_what_is_made_again(const DataError& error) const;
  bool collective_calibrate_store(Communicator& ranks);
  [[nodiscard]] bool collective_heldout_is_whole(Communicator& ranks) const;
  void add_window(std::uint32_t first_shard, std::uint32_t last_shard);
  void collective_write_heldout(Communicator& ranks);

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
  RunInputs inputs_;
  bool trains_;
  TokenizePlan tokenize_plan_;
  std::filesystem::path contexts_folder_;
  std::unordered_set<std::uint64_t> seen_documents_;  // world rank 0
  std::vector<std::uint64_t> shard_bytes_;  // of admitted shards: raw, tokens and contexts
  std::uint64_t first_window_rows_ = 0;
  std::string store_digest_;
  Calibration calibration_;
};

}  // namespace refract
