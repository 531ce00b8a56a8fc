#include "refract/pipeline/evidence.hpp"

#include <gtest/gtest.h>

#include <map>

namespace refract {
namespace {

// 8 blocks of 16 rows a chunk, batches of 32 rows (slices of 4).
constexpr OrderRule kRule{.chunk_rows = 128, .block_rows = 16, .batch_rows = 32};

std::map<std::uint64_t, std::uint64_t> blocks_of_chunks(const EvidencePlan& plan) {
  std::map<std::uint64_t, std::uint64_t> count;
  for (const EvidenceBlock& block : plan.blocks) {
    EXPECT_EQ(block.block, count[block.chunk]) << "the first blocks, in order";
    ++count[block.chunk];
  }
  return count;
}

TEST(Evidence, takes_block_0_of_evenly_spaced_chunks) {
  const EvidencePlan plan = plan_evidence(kRule, 12 * 128, 4 * 16 + 5);

  EXPECT_EQ(plan.blocks, (std::vector<EvidenceBlock>{{2, 0}, {5, 0}, {8, 0}, {11, 0}}));
  EXPECT_EQ(plan.rows(), 64u);
}

TEST(Evidence, takes_more_blocks_of_each_where_there_are_fewer_chunks_than_blocks) {
  const EvidencePlan plan = plan_evidence(kRule, 3 * 128, 10 * 16);

  EXPECT_EQ(blocks_of_chunks(plan),
            (std::map<std::uint64_t, std::uint64_t>{{0, 3}, {1, 3}, {2, 4}}));
}

TEST(Evidence, is_all_there_is_when_more_is_wanted) {
  EXPECT_EQ(plan_evidence(kRule, 2 * 128, 1'000'000).rows(), 256u);
}

TEST(Evidence, leaves_out_a_last_chunk_with_shorter_blocks) {
  const EvidencePlan plan = plan_evidence(kRule, 2 * 128 + 64, 1'000'000);

  EXPECT_EQ(plan.block_rows, 16u);
  EXPECT_EQ(blocks_of_chunks(plan), (std::map<std::uint64_t, std::uint64_t>{{0, 8}, {1, 8}}));
}

TEST(Evidence, takes_a_short_chunk_that_is_the_only_one) {
  const EvidencePlan plan = plan_evidence(kRule, 64, 1'000'000);  // two batches: blocks of 8 rows

  EXPECT_EQ(plan.block_rows, 8u);
  EXPECT_EQ(plan.rows(), 64u);
}

TEST(Evidence, keeps_at_least_one_block) { EXPECT_EQ(plan_evidence(kRule, 128, 1).rows(), 16u); }

TEST(Evidence, has_another_digest_when_other_rows_are_kept) {
  EXPECT_NE(plan_evidence(kRule, 3 * 128, 16).digest(), plan_evidence(kRule, 3 * 128, 32).digest());
  EXPECT_EQ(plan_evidence(kRule, 3 * 128, 16).digest(), plan_evidence(kRule, 3 * 128, 17).digest());
}

}  // namespace
}  // namespace refract
