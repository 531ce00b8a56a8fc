#include "refract/stages/verify.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "refract/base/random.hpp"
#include "refract/base/stop.hpp"
#include "refract/order/sample_order.hpp"

namespace refract {
namespace {

// The first row of a block whose identity differs, or -1.
std::int64_t differing_row(const RowIdentity& stored, const RowIdentity& expected) {
  if (stored.size() != expected.size()) return 0;
  for (std::size_t i = 0; i < stored.size(); ++i)
    if (stored.rows(i, 1) != expected.rows(i, 1)) return static_cast<std::int64_t>(i);
  return -1;
}

void compare_activations(const ChunkReader& chunk, std::uint64_t block, const BlockRows& rows,
                         VerifyResult& result) {
  const std::uint64_t first = block * chunk.spec().block_rows,
                      count = chunk.spec().rows_of_block(block);
  for (std::size_t h = 0; h < chunk.spec().hooks.size(); ++h) {
    const std::size_t d = chunk.spec().hooks[h].d_in;
    std::vector<float> stored(count * d);
    chunk.read_rows(h, first, count, stored);
    for (std::size_t i = 0; i < count * d; ++i) {
      float expected = rows.activations[h].span()[i];
      if (chunk.spec().dtype == DType::bf16) expected = to_float(to_bf16(expected));
      if (std::memcmp(&stored[i], &expected, sizeof expected) == 0) continue;
      result.faults.push_back(
          fmt::format("{}: row {} of {} is not what the model gives for its context (value {} is "
                      "{}, recomputed {})",
                      chunk.path().string(), first + i / d, chunk.spec().hooks[h].name, i % d,
                      stored[i], expected));
      return;
    }
    std::vector<std::uint8_t> excluded(count);
    chunk.read_hook_excluded(h, first, count, excluded);
    if (excluded != rows.sinks[h])
      result.faults.push_back(
          fmt::format("{}: sink flags of block {} differ", chunk.path().string(), block));
  }
  result.recomputed_rows += count;
}

}  // namespace

void VerifyResult::add(const VerifyResult& other) {
  identities += other.identities;
  blocks += other.blocks;
  recomputed_rows += other.recomputed_rows;
  faults.insert(faults.end(), other.faults.begin(), other.faults.end());
  std::ranges::sort(faults);
}

void verify_chunk(const ChunkReader& chunk, const std::function<BlockPlan(std::uint64_t)>& plan_of,
                  TokenCorpus& corpus, BlockComputer& computer, const VerifyRule& rule,
                  VerifyShare share, VerifyResult& result) {
  // What does not match its checksum is a fault once, and is not looked into further.
  const auto is_whole = [&](std::uint64_t block) {
    return chunk.compute_checksum(block) == chunk.block_checksums()[block];
  };
  const Share mine = share_of(chunk.blocks(), share.rank, share.size);
  for (std::uint64_t block = mine.first; block < mine.first + mine.count; ++block) {
    stop_point();
    ++result.blocks;
    if (!is_whole(block)) {
      result.faults.push_back(fmt::format("{}: the checksum of block {} does not match its bytes",
                                          chunk.path().string(), block));
      continue;
    }
    const std::uint64_t first = block * chunk.spec().block_rows,
                        count = chunk.spec().rows_of_block(block);
    const std::int64_t row =
        differing_row(chunk.read_identity(first, count), identity_of(plan_of(block), corpus));
    if (row >= 0)
      result.faults.push_back(fmt::format("{}: the identity of row {} is not the planned one",
                                          chunk.path().string(),
                                          first + static_cast<std::uint64_t>(row)));
    result.identities += count;
  }
  Stream stream;
  std::uint64_t planned = 0, place = 0;
  for (const std::uint32_t block :
       permutation(static_cast<std::uint32_t>(chunk.blocks()),
                   CounterRng(Purpose::random_rows, {rule.seed, chunk.spec().chunk, 7}))) {
    if (planned >= rule.recomputed_rows) break;
    planned += chunk.spec().rows_of_block(block);
    const bool is_mine =
        place++ % static_cast<std::uint64_t>(share.size) == static_cast<std::uint64_t>(share.rank);
    if (!is_mine || !is_whole(block)) continue;
    stop_point();
    compare_activations(chunk, block, computer.compute(plan_of(block), stream), result);
  }
}

}  // namespace refract
