#include "refract/order/window_order.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "refract/order/contexts.hpp"
#include "unit/store/scratch_folder.hpp"

namespace refract {
namespace {

using test::ScratchFolder;

// 300 documents of 1 to 23 tokens in contexts of 8 slots, every fifth held out.
ContextTableData many_contexts(Packing packing) {
  std::vector<std::uint64_t> starts{0};
  std::vector<std::uint8_t> keep, heldout;
  for (std::uint64_t d = 0; d < 300; ++d) {
    starts.push_back(starts.back() + 1 + d * 7 % 23);
    keep.push_back(1);
    heldout.push_back(d % 5 == 0 ? 1 : 0);
  }
  return build_contexts({.length = 8, .packing = packing}, starts, keep, heldout);
}

TEST(WindowOrder, counts_the_rows_of_training_contexts_by_the_rule) {
  const ScratchFolder folder;
  const ContextTableData data = many_contexts(Packing::packed);
  write_contexts(folder / "c.h5", data, {});
  const ContextTable table(folder / "c.h5");

  for (const char* text : {"all", "last", "nth_last: 3", "random: 2"}) {
    const RowRule rule = parse_row_rule(text);
    const ShardRows rows = rows_of_shard(6, table, rule, 9);

    ASSERT_EQ(rows.rows.size(), table.training_contexts());
    for (std::size_t c = 0; c < rows.rows.size(); ++c)
      EXPECT_EQ(rows.rows[c],
                select_slots(rule, data.format, data.of_context(c), context_key(6, c), 9).size());
  }
}

TEST(WindowOrder, takes_every_context_with_rows_once_and_none_without) {
  const std::vector<ShardRows> shards{{4, {8, 0, 3}}, {5, {}}, {6, {1, 0, 2, 5}}};

  const WindowData window = order_window(shards, 3, 2);

  std::vector<std::uint64_t> sorted = window.contexts;
  std::ranges::sort(sorted);
  EXPECT_EQ(sorted,
            (std::vector<std::uint64_t>{context_key(4, 0), context_key(4, 2), context_key(6, 0),
                                        context_key(6, 2), context_key(6, 3)}));
  EXPECT_EQ(window.rows(), 19u);
  std::uint64_t start = 0;
  for (std::size_t i = 0; i < window.contexts.size(); ++i) {
    const std::uint64_t key = window.contexts[i];
    EXPECT_EQ(window.row_ends[i] - start, shards[(key >> 32) - 4].rows[key & 0xFFFFFFFFu]);
    start = window.row_ends[i];
  }
}

TEST(WindowOrder, is_another_for_another_seed_or_window_and_the_same_for_the_same) {
  const std::vector<ShardRows> shards{{0, std::vector<std::uint32_t>(100, 8)}};

  const auto contexts = [&](std::uint64_t seed, std::uint64_t window) {
    return order_window(shards, seed, window).contexts;
  };

  EXPECT_EQ(contexts(1, 0), contexts(1, 0));
  EXPECT_NE(contexts(1, 0), contexts(2, 0));
  EXPECT_NE(contexts(1, 0), contexts(1, 1));
}

}  // namespace
}  // namespace refract
