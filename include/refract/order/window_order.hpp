#pragma once
// The order of a window (SPEC 2): the training contexts of its shards, permuted together.
#include <cstdint>
#include <span>
#include <vector>

#include "refract/order/row_rule.hpp"
#include "refract/store/contexts.hpp"
#include "refract/store/window.hpp"

namespace refract {

// Of one shard: how many rows each training context gives.
struct ShardRows {
  std::uint32_t shard = 0;
  std::vector<std::uint32_t> rows;  // [training contexts]
};
// Reads the table a few thousand contexts at a time.
[[nodiscard]] ShardRows rows_of_shard(std::uint32_t shard, const ContextTable& table,
                                      const RowRule& rule, std::uint64_t store_seed);

// `shards` in order; the permutation is drawn with (store_seed, window).
[[nodiscard]] WindowData order_window(std::span<const ShardRows> shards, std::uint64_t store_seed,
                                      std::uint64_t window);

}  // namespace refract
