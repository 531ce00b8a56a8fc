#include "refract/order/sample_order.hpp"

#include <algorithm>

#include "refract/base/error.hpp"
#include "refract/base/random.hpp"

namespace refract {

void check_order_rule(const OrderRule& rule) {
  if (rule.chunk_rows % rule.block_rows != 0)
    throw ConfigError(
        "store.chunk_rows is {}, no multiple of store.block_rows ({}). Set chunk_rows to {}.",
        rule.chunk_rows, rule.block_rows,
        std::max<std::uint64_t>(1, rule.chunk_rows / rule.block_rows) * rule.block_rows);
  const std::uint64_t blocks = rule.blocks();
  if (rule.batch_rows % blocks != 0)
    throw ConfigError(
        "train.batch_rows is {}, no multiple of the {} blocks of a chunk (store.chunk_rows / "
        "store.block_rows). Set batch_rows to {}.",
        rule.batch_rows, blocks, std::max<std::uint64_t>(1, rule.batch_rows / blocks) * blocks);
  if (rule.block_rows % rule.slice_rows() != 0)
    throw ConfigError(
        "store.block_rows is {}, no multiple of the {} rows a block gives to a batch "
        "(train.batch_rows / blocks). Set block_rows and batch_rows to powers of two.",
        rule.block_rows, rule.slice_rows());
}

SampleOrder::SampleOrder(OrderRule rule, std::uint64_t max_rows)
    : rule_(rule), max_rows_(max_rows / rule.batch_rows * rule.batch_rows) {
  check_order_rule(rule_);
  if (max_rows > 0 && max_rows_ == 0)
    throw ConfigError(
        "train.tokens is {}, less than one batch of {} rows. Raise train.tokens or lower "
        "train.batch_rows.",
        max_rows, rule_.batch_rows);
}

void SampleOrder::add_window(std::uint64_t rows) { window_ends_.push_back(sequence_rows() + rows); }

std::uint64_t SampleOrder::rows() const {
  return max_rows_ ? std::min(max_rows_, sequence_rows()) : sequence_rows();
}

bool SampleOrder::has_chunk(std::uint64_t chunk) const {
  if (complete()) return chunk < chunks();
  return rows() >= (chunk + 1) * rule_.chunk_rows;
}

ChunkShape SampleOrder::chunk_shape(std::uint64_t chunk) const {
  ChunkShape shape{.chunk = chunk, .first_row = chunk * rule_.chunk_rows};
  const std::uint64_t left = rows() > shape.first_row ? rows() - shape.first_row : 0;
  shape.batches = std::min(left, rule_.chunk_rows) / rule_.batch_rows;
  shape.rows = shape.batches * rule_.batch_rows;
  shape.block_rows = shape.batches * rule_.slice_rows();
  shape.last = complete() && chunk + 1 == chunks();
  return shape;
}

std::uint64_t SampleOrder::chunks() const {
  const std::uint64_t whole = rows() / rule_.chunk_rows, rest = rows() % rule_.chunk_rows;
  return whole + (rest >= rule_.batch_rows ? 1 : 0);
}

std::uint64_t SampleOrder::dropped_rows() const {
  return sequence_rows() - batches_per_pass() * rule_.batch_rows;
}

std::uint64_t SampleOrder::batches_per_pass() const {
  return chunks() == 0 ? 0
                       : (chunks() - 1) * (rule_.chunk_rows / rule_.batch_rows) +
                             chunk_shape(chunks() - 1).batches;
}

std::vector<WindowRange> SampleOrder::block_ranges(const ChunkShape& chunk,
                                                   std::uint64_t block) const {
  std::uint64_t at = chunk.first_row + block * chunk.block_rows;
  const std::uint64_t end = at + chunk.block_rows;
  REFRACT_ASSERT(end <= sequence_rows(), "block {} of chunk {} ends at row {}", block, chunk.chunk,
                 end);
  std::vector<WindowRange> ranges;
  auto window =
      static_cast<std::size_t>(std::ranges::upper_bound(window_ends_, at) - window_ends_.begin());
  for (; at < end; ++window) {
    const std::uint64_t start = window == 0 ? 0 : window_ends_[window - 1];
    const std::uint64_t stop = std::min(end, window_ends_[window]);
    if (stop > at) ranges.push_back({window, at - start, stop - at});
    at = std::max(at, stop);
  }
  return ranges;
}

std::vector<std::uint32_t> SampleOrder::block_permutation(const ChunkShape& chunk,
                                                          std::uint64_t block) const {
  return permutation(static_cast<std::uint32_t>(chunk.block_rows),
                     CounterRng(Purpose::block_order, {rule_.store_seed, chunk.chunk, block}));
}

std::vector<std::uint32_t> SampleOrder::slice_order(const ChunkShape& chunk, std::uint64_t block,
                                                    std::uint64_t pass) const {
  return permutation(static_cast<std::uint32_t>(chunk.batches),
                     CounterRng(Purpose::slice_order, {rule_.data_seed, pass, chunk.chunk, block}));
}

Share share_of(std::uint64_t items, int rank, int size) {
  const auto r = static_cast<std::uint64_t>(rank), n = static_cast<std::uint64_t>(size);
  const std::uint64_t each = items / n, more = items % n;
  return {r * each + std::min(r, more), each + (r < more ? 1 : 0)};
}

}  // namespace refract
