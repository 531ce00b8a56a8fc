#pragma once
// The corpus of one run, as far as it is known: shards are fetched and tokenized in any order and
// admitted in theirs. Admission is world rank 0's: it makes each shard's context table and, when a
// window's last shard is there, the window's order; the other ranks are told how many shards are
// admitted and how many rows each window has. So every rank knows the order of all samples, and
// none holds more of the corpus than the headers of the files it last read from.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "refract/order/contexts.hpp"
#include "refract/order/sample_order.hpp"
#include "refract/order/window_order.hpp"
#include "refract/pipeline/run.hpp"
#include "refract/stages/heldout.hpp"
#include "refract/stages/token_corpus.hpp"
#include "refract/stages/tokenize.hpp"
#include "refract/stages/verify.hpp"
#include "refract/store/file_digests.hpp"

namespace refract {

// What admission tells the other ranks.
struct Admitted {
  std::uint64_t shards = 0;
  std::vector<std::uint64_t> window_rows;  // of windows [first_window, ...)
  std::uint64_t first_window = 0;
};

class RunCorpus {
 public:
  // The run's inputs are open. trains: false for a command that ends before training, which needs
  // no batch. Collective: rank 0 makes the folders.
  static std::unique_ptr<RunCorpus> collective_open(Run& run, bool trains);

  [[nodiscard]] std::uint64_t shards() const { return plan_.shards.size(); }
  // Work of one rank on one shard; whole files that exist are left alone. tick() is called while it
  // goes on. true when anything was made.
  bool download_shard(std::uint64_t shard, const std::function<void()>& tick);
  bool tokenize_shard(std::uint64_t shard, const std::function<void()>& tick);
  void end_download();  // world rank 0, after the last shard: the index of what was fetched

  // World rank 0, for tokenized shards in order: duplicates, held-out membership and contexts,
  // written beside the tokens, and the order of the window that the shard completes. true when
  // anything was made. DataError when the corpus is complete and gives less than one batch.
  bool admit_next_shard();
  // What was admitted from window `known` on, for ranks that know the windows before.
  [[nodiscard]] Admitted admitted_since(std::uint64_t known) const;
  void admit(const Admitted& admitted);  // the other ranks

  [[nodiscard]] std::uint64_t admitted() const { return tokens_.shards(); }
  [[nodiscard]] bool complete() const { return order_.complete(); }
  [[nodiscard]] bool first_window_known() const { return order_.windows() > 0; }
  [[nodiscard]] TokenCorpus& tokens() { return tokens_; }
  [[nodiscard]] const SampleOrder& order() const { return order_; }
  [[nodiscard]] BlockPlan plan_block(const ChunkShape& chunk, std::uint64_t block) {
    return refract::plan_block(order_, chunk, block, tokens_, run_.row_rule());
  }
  [[nodiscard]] HeldoutPlan plan_heldout();
  // World rank 0: bytes of shards and tokens that the run keeps on disk; estimated from the first
  // window while the corpus streams, so that it is the same whenever it is asked for.
  [[nodiscard]] std::uint64_t bytes() const;
  // What the store's digest covers of the corpus, a line each.
  [[nodiscard]] std::string identity() const;
  // Damaged when any byte of this share of the admitted files changed, whatever was found out about
  // them before.
  void verify(VerifyShare share) const;

 private:
  RunCorpus(Run& run, bool trains);
  [[nodiscard]] CorpusShard files_of(std::uint64_t shard) const;
  [[nodiscard]] std::filesystem::path window_file(std::uint64_t window) const;
  bool make_contexts(std::uint64_t shard, const CorpusShard& files, const TokenShard& tokens);
  bool admit_window(std::uint64_t window);
  void add_window(std::uint64_t window, std::uint64_t rows);

  Run& run_;
  bool trains_;
  TokenizePlan plan_;
  ContextRule context_rule_;
  std::filesystem::path contexts_folder_;
  TokenCorpus tokens_;
  SampleOrder order_;
  std::vector<std::uint64_t> window_rows_;
  // World rank 0:
  FileDigests seen_files_;
  SeenDocuments seen_documents_;
  std::uint64_t seen_shards_ = 0;                  // whose documents they are
  std::vector<std::string> table_digests_;         // of the window that is being filled
  std::vector<std::uint64_t> first_window_bytes_;  // of its shards: raw, tokens and contexts
  std::uint64_t shard_bytes_ = 0;                  // of all admitted shards
};

}  // namespace refract
