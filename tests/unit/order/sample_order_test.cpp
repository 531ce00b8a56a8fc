#include "refract/order/sample_order.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "refract/base/error.hpp"

namespace refract {
namespace {

// chunk 64 rows, blocks of 16, so 4 blocks; batch 16 rows, slice 4.
constexpr OrderRule kRule{
    .store_seed = 3, .data_seed = 5, .chunk_rows = 64, .block_rows = 16, .batch_rows = 16};

SampleOrder order_of(std::uint32_t contexts, std::uint32_t rows, std::uint64_t max_rows = 0) {
  SampleOrder order(kRule, max_rows);
  order.add_window(std::uint64_t{contexts} * rows);
  order.end_of_corpus();
  return order;
}

TEST(SampleOrder, gives_every_row_of_the_corpus_to_exactly_one_block_but_the_rest_below_a_batch) {
  const SampleOrder order = order_of(31, 7);  // 217 rows: 3 chunks of 64, one of 16 and 9 dropped

  std::set<std::uint64_t> seen;
  for (std::uint64_t c = 0; c < order.chunks(); ++c) {
    const ChunkShape shape = order.chunk_shape(c);
    for (std::uint64_t b = 0; b < kRule.blocks(); ++b) {
      std::uint64_t rows = 0;
      for (const WindowRange& range : order.block_ranges(shape, b)) {
        EXPECT_EQ(range.window, 0u);
        for (std::uint64_t i = 0; i < range.count; ++i)
          EXPECT_TRUE(seen.insert(range.first + i).second);
        rows += range.count;
      }
      EXPECT_EQ(rows, shape.block_rows);
    }
  }

  EXPECT_EQ(order.chunks(), 4u);
  EXPECT_EQ(seen.size(), 208u);
  EXPECT_EQ(order.dropped_rows(), 9u);
}

TEST(SampleOrder, keeps_the_number_of_blocks_in_the_last_chunk) {
  const SampleOrder order = order_of(31, 7);

  const ChunkShape last = order.chunk_shape(3);

  EXPECT_TRUE(last.last);
  EXPECT_EQ(last.batches, 1u);
  EXPECT_EQ(last.block_rows, kRule.slice_rows());
  EXPECT_EQ(last.rows, kRule.blocks() * last.block_rows);
}

TEST(SampleOrder, takes_leftover_rows_of_a_window_first_into_the_next_chunk) {
  SampleOrder order(kRule, 0);
  order.add_window(72);  // 8 are left over
  EXPECT_TRUE(order.has_chunk(0));
  EXPECT_FALSE(order.has_chunk(1));
  order.add_window(0);  // a window may be empty
  order.add_window(80);
  order.end_of_corpus();

  using Ranges = std::vector<WindowRange>;
  EXPECT_EQ(order.block_ranges(order.chunk_shape(0), 3), (Ranges{{0, 48, 16}}));
  EXPECT_EQ(order.block_ranges(order.chunk_shape(1), 0), (Ranges{{0, 64, 8}, {2, 0, 8}}));
  EXPECT_EQ(order.block_ranges(order.chunk_shape(1), 1), (Ranges{{2, 8, 16}}));
}

TEST(SampleOrder, counts_batches_as_the_chunks_have_them) {
  for (const std::uint32_t contexts : {2u, 8u, 9u, 31u, 32u, 200u}) {
    const SampleOrder order = order_of(contexts, 7);

    std::uint64_t batches = 0;
    for (std::uint64_t c = 0; c < order.chunks(); ++c) batches += order.chunk_shape(c).batches;

    EXPECT_EQ(order.batches_per_pass(), batches) << contexts;
  }
}

TEST(SampleOrder, permutes_slices_by_seed_pass_chunk_and_block) {
  const SampleOrder order = order_of(200, 8);
  const ChunkShape shape = order.chunk_shape(0);

  const auto a = order.slice_order(shape, 0, 0), again = order.slice_order(shape, 0, 0);
  std::set<std::vector<std::uint32_t>> different;
  for (std::uint64_t block = 0; block < 4; ++block)
    for (std::uint64_t pass = 0; pass < 4; ++pass)
      different.insert(order.slice_order(shape, block, pass));

  EXPECT_EQ(a, again);
  EXPECT_GT(different.size(), 8u);  // 16 draws of the 24 permutations of 4 slices
  EXPECT_EQ(std::set<std::uint32_t>(a.begin(), a.end()).size(), shape.batches);
}

TEST(SampleOrder, rounds_the_wanted_rows_down_to_whole_batches) {
  const SampleOrder order = order_of(100, 8, 100);

  EXPECT_EQ(order.rows(), 96u);
  EXPECT_EQ(order.batches_per_pass(), 6u);
  EXPECT_EQ(order.chunk_shape(1).batches, 2u);
}

TEST(SampleOrder, refuses_numbers_that_do_not_divide_and_says_which) {
  EXPECT_THROW(check_order_rule({.chunk_rows = 100, .block_rows = 16, .batch_rows = 16}),
               ConfigError);
  EXPECT_THROW(check_order_rule({.chunk_rows = 64, .block_rows = 16, .batch_rows = 18}),
               ConfigError);
  EXPECT_THROW(check_order_rule({.chunk_rows = 64, .block_rows = 16, .batch_rows = 20}),
               ConfigError);
  EXPECT_NO_THROW(check_order_rule(kRule));
}

TEST(Share, covers_every_item_once_for_any_number_of_ranks) {
  for (int size = 1; size <= 7; ++size) {
    std::uint64_t next = 0;
    for (int rank = 0; rank < size; ++rank) {
      const Share share = share_of(16, rank, size);
      EXPECT_EQ(share.first, next);
      next += share.count;
    }
    EXPECT_EQ(next, 16u);
  }
}

}  // namespace
}  // namespace refract
