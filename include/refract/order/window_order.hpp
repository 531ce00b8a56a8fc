#pragma once
// The order of a window (SPEC 2): the training contexts of its shards, permuted together.
#include <cstdint>
#include <span>
#include <vector>

#include "refract/order/row_rule.hpp"
#include "refract/store/contexts.hpp"
#include "refract/store/window.hpp"

namespace refract {

// The training contexts of a window's shards as one list, shard after shard.
class WindowContexts {
 public:
  void add_shard(std::uint64_t contexts) { ends_.push_back(size() + contexts); }
  [[nodiscard]] std::uint64_t size() const { return ends_.empty() ? 0 : ends_.back(); }
  struct Place {
    std::size_t shard = 0;  // in the order they were added
    std::uint64_t context = 0;
  };
  [[nodiscard]] Place place(std::uint64_t i) const;  // i < size()

 private:
  std::vector<std::uint64_t> ends_;
};

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
