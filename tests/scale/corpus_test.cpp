// All of Wikipedia, planned for sixty-four ranks in one process: what a rank holds and reads for a
// chunk does not depend on how large the corpus is or how far the run has come.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "refract/stages/block_rows.hpp"
#include "refract/stages/calibrate.hpp"
#include "support/memory.hpp"
#include "support/wikipedia_sized.hpp"

namespace refract {
namespace {

constexpr int kRanks = 64, kRank = 37;
constexpr OrderRule kRule{
    .store_seed = 1, .data_seed = 1, .chunk_rows = 131072, .block_rows = 1024, .batch_rows = 4096};

// Of this process, from /proc; 0 where there is none.
std::uint64_t counted(const char* file, const std::string& name) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(name + ":")) return std::stoull(line.substr(name.size() + 1));
  return 0;
}
std::uint64_t peak_bytes() { return counted("/proc/self/status", "VmHWM") * 1024; }

struct Reads {
  std::uint64_t calls = counted("/proc/self/io", "syscr");
  std::uint64_t bytes = counted("/proc/self/io", "rchar");
};

class CorpusAtScale : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kDiskBytes = std::uint64_t{2} << 30;

  static void SetUpTestSuite() {
    folder_ = fs::path(::testing::TempDir()) / fmt::format("wikipedia_sized_{}", ::getpid());
    make_folder(folder_);
    if (test::available_disk_bytes(folder_) < kDiskBytes) return;
    corpus_ = std::make_unique<test::WikipediaSized>(folder_, test::CorpusSize{});
    for (std::uint32_t shard = 0; shard < corpus_->size().shards; ++shard) corpus_->admit(shard);
  }
  static void TearDownTestSuite() {
    corpus_.reset();
    fs::remove_all(folder_);
  }
  void SetUp() override {
    if (!corpus_) GTEST_SKIP() << "less than 2 GiB of disk are free in " << folder_;
  }

  static inline fs::path folder_;
  static inline std::unique_ptr<test::WikipediaSized> corpus_;
};

TEST_F(CorpusAtScale, gives_every_row_of_a_chunk_to_one_of_sixty_four_ranks) {
  const SampleOrder order = corpus_->sample_order(kRule);
  TokenCorpus corpus = corpus_->corpus();
  const ChunkShape shape = order.chunk_shape(order.chunks() / 2);

  std::set<std::pair<std::uint64_t, std::uint32_t>> rows;
  for (int rank = 0; rank < kRanks; ++rank) {
    const Share blocks = share_of(kRule.blocks(), rank, kRanks);
    for (std::uint64_t b = blocks.first; b < blocks.first + blocks.count; ++b) {
      const BlockPlan plan = plan_block(order, shape, b, corpus, RowRule{});
      ASSERT_EQ(plan.rows.size(), shape.block_rows);
      for (const BlockPlan::Row& row : plan.rows)
        rows.insert({plan.contexts[row.context], row.slot});
    }
  }

  EXPECT_EQ(rows.size(), shape.rows);
  EXPECT_GT(order.chunks(), 37'000u);
}

TEST_F(CorpusAtScale, costs_a_rank_the_same_reads_for_the_last_chunk_as_for_the_first) {
  const SampleOrder order = corpus_->sample_order(kRule);
  TokenCorpus corpus = corpus_->corpus();
  const Share blocks = share_of(kRule.blocks(), kRank, kRanks);
  const auto plan = [&](std::uint64_t chunk) {
    const ChunkShape shape = order.chunk_shape(chunk);
    const Reads before;
    for (std::uint64_t b = blocks.first; b < blocks.first + blocks.count; ++b) {
      (void)plan_block(order, shape, b, corpus, RowRule{});
      EXPECT_EQ(order.slice_order(shape, b, 0).size(), shape.batches);
    }
    const Reads after;
    return std::pair(after.calls - before.calls, after.bytes - before.bytes);
  };
  if (Reads().calls == 0) GTEST_SKIP() << "this system does not count reads";
  const std::uint64_t last = order.chunks() - 2;  // the last but one is whole
  (void)plan(0);
  (void)plan(last);  // both windows are open

  const auto [first_calls, first_bytes] = plan(1);
  const auto [last_calls, last_bytes] = plan(last);

  // Two searches of 22 steps a block, and what counting itself reads.
  EXPECT_LE(last_calls, first_calls + 16);
  EXPECT_LE(last_calls, 200u);
  EXPECT_LE(last_bytes, first_bytes + 4096);
  EXPECT_LE(last_bytes, 64u << 10);
}

TEST_F(CorpusAtScale, is_admitted_and_planned_by_ranks_of_less_than_a_gibibyte) {
  TokenCorpus corpus = corpus_->corpus();
  const HeldoutPlan heldout = plan_heldout({}, corpus, 8, RowRule{}, 1, kRule.block_rows);
  const CalibrationPlan calibration = plan_calibration({}, corpus, 8, RowRule{}, 1);

  EXPECT_LE(heldout.rows, 65536u);
  EXPECT_GT(heldout.rows, 60000u);
  EXPECT_EQ(calibration.rows, 262144u);
  EXPECT_EQ(corpus_->seen().size(), 41u * 170'732u);
  EXPECT_GT(peak_bytes(), 0u);
  EXPECT_LT(peak_bytes(), std::uint64_t{1} << 30);
}

}  // namespace
}  // namespace refract
