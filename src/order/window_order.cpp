#include "refract/order/window_order.hpp"

#include <algorithm>
#include <limits>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"
#include "refract/base/random.hpp"

namespace refract {

WindowContexts::Place WindowContexts::place(std::uint64_t i) const {
  const auto shard = static_cast<std::size_t>(std::ranges::upper_bound(ends_, i) - ends_.begin());
  return {shard, i - (shard == 0 ? 0 : ends_[shard - 1])};
}

ShardRows rows_of_shard(std::uint32_t shard, const ContextTable& table, const RowRule& rule,
                        std::uint64_t store_seed) {
  constexpr std::uint64_t kContextsAtATime = 4096;
  const std::uint64_t contexts = table.training_contexts();
  ShardRows out{shard, {}};
  if (rule.kind == RowRule::Kind::all) {
    out.rows.assign(contexts, table.format().length);
    return out;
  }
  out.rows.reserve(contexts);
  for (std::uint64_t first = 0; first < contexts; first += kContextsAtATime) {
    const ContextTableData some = table.read(first, std::min(kContextsAtATime, contexts - first));
    for (std::uint64_t c = 0; c < some.contexts(); ++c)
      out.rows.push_back(
          static_cast<std::uint32_t>(select_slots(rule, some.format, some.of_context(c),
                                                  context_key(shard, first + c), store_seed)
                                         .size()));
    tick();
  }
  return out;
}

WindowData order_window(std::span<const ShardRows> shards, std::uint64_t store_seed,
                        std::uint64_t window) {
  WindowContexts contexts;
  for (const ShardRows& shard : shards) contexts.add_shard(shard.rows.size());
  if (contexts.size() > std::numeric_limits<std::uint32_t>::max())
    throw ConfigError(
        "window {} has {} contexts, more than can be permuted together. Lower tokens.window_shards "
        "(now {} shards in this window).",
        window, contexts.size(), shards.size());
  WindowData data;
  std::uint64_t rows = 0;
  for (const std::uint32_t i :
       permutation(static_cast<std::uint32_t>(contexts.size()),
                   CounterRng(Purpose::window_order, {store_seed, window}))) {
    const auto [s, context] = contexts.place(i);
    if (shards[s].rows[context] == 0) continue;
    rows += shards[s].rows[context];
    data.contexts.push_back(context_key(shards[s].shard, context));
    data.row_ends.push_back(rows);
  }
  return data;
}

}  // namespace refract
