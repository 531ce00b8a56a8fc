// The K largest values of a list by counts of their high and low halves (ops/batch_top.hpp).
// entries by row, values f32 > 0; counts [65536 (+ 1)], bar, used u64; threshold [F] f32.
// A warp owns a row of entries. One block of 1024 finds a place in a histogram: each warp sums
// 2,048 buckets, then each thread counts two of the part that holds the place.
// 4 bytes moved per entry to count, 8 to keep and 8 written: bound by memory.
// Integers, but for the mean of follow_bar in fp64: bytes equal to the CPU's.
// Deterministic: sums of integers in any order. Only where a row of kept entries lies in the list
// depends on the schedule, which RowEntries leaves open.
#include <cstdint>

#include "ops/clear_cuda.cuh"
#include "ops/cuda_bodies.hpp"
#include "refract/device/block_cuda.cuh"
#include "refract/device/launch_cuda.cuh"

namespace refract::cuda {
namespace {

using Count = unsigned long long;  // what atomicAdd takes
static_assert(sizeof(Count) == sizeof(std::uint64_t));

constexpr unsigned kFindThreads = 1024, kParts = kFindThreads / kWarp;
constexpr unsigned kBuckets = static_cast<unsigned>(kHalfBuckets), kPart = kBuckets / kParts;
constexpr std::uint64_t kNothing = 0xFFFFFFFFU;  // above the bits of every number

struct Entries {
  std::uint64_t* starts;
  std::uint32_t *counts, *features;
  float* values;
  std::size_t rows;
};
Entries entries_of(const RowEntries& from) {
  return {from.starts.data(), from.counts.data(), from.features.data(), from.values.data(),
          from.rows()};
}
Grid grid_of_rows(std::size_t rows) { return grid_over(rows * kWarp); }

struct Warps {
  std::size_t own, all;
  unsigned lane;
};
__device__ Warps warps_of_grid() {
  return {(std::size_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp,
          std::size_t{gridDim.x} * blockDim.x / kWarp, threadIdx.x % kWarp};
}

__device__ Count* add_to(std::uint64_t* at) { return reinterpret_cast<Count*>(at); }

__global__ void count_high_halves(Entries entries, const std::uint8_t* included, std::size_t flags,
                                  const std::uint64_t* unless, std::uint64_t* counts) {
  if (unless && *unless != 0) return;
  const Warps warp = warps_of_grid();
  for (std::size_t row = warp.own; row < entries.rows; row += warp.all) {
    const std::uint64_t first = entries.starts[row], end = first + entries.counts[row];
    for (std::uint64_t j = first + warp.lane; j < end; j += kWarp)
      atomicAdd(add_to(counts + (__float_as_uint(entries.values[j]) >> 16)), Count{1});
  }
  for (std::size_t i = warp.own * kWarp; i < flags; i += warp.all * kWarp) {
    const unsigned set =
        __ballot_sync(kWholeWarp, i + warp.lane < flags && included[i + warp.lane] != 0);
    if (warp.lane == 0) atomicAdd(add_to(counts + kHalfBuckets), static_cast<Count>(__popc(set)));
  }
}

__global__ void count_low_halves(Entries entries, const std::uint64_t* bar, std::uint64_t* counts) {
  if (bar[kWanted] == 0) return;
  const std::uint64_t bucket = bar[kBucket];
  const Warps warp = warps_of_grid();
  for (std::size_t row = warp.own; row < entries.rows; row += warp.all) {
    const std::uint64_t first = entries.starts[row], end = first + entries.counts[row];
    for (std::uint64_t j = first + warp.lane; j < end; j += kWarp) {
      const unsigned bits = __float_as_uint(entries.values[j]);
      if (bits >> 16 == bucket) atomicAdd(add_to(counts + (bits & 0xFFFFU)), Count{1});
    }
  }
}

struct FindMemory {
  std::uint64_t of_part[kParts];
  BlockMemory<std::uint64_t, kFindThreads> scan;
};

// The sum of the histogram, and of each of its parts; by all threads of the block.
__device__ std::uint64_t sum_parts(const std::uint64_t* histogram, FindMemory& shared) {
  const unsigned part = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  std::uint64_t own = 0;
  for (unsigned i = lane; i < kPart; i += kWarp) own += histogram[part * kPart + i];
  own = warp_sum(own);
  if (lane == 0) shared.of_part[part] = own;
  __syncthreads();
  std::uint64_t total = 0;
  for (unsigned p = 0; p < kParts; ++p) total += shared.of_part[p];
  return total;
}

// After sum_parts: the thread that knows calls found(bucket of the rank-th largest, how many of the
// bucket are among the rank largest). rank: from 1 to the total.
template <typename Found>
__device__ void find_place(const std::uint64_t* histogram, std::uint64_t rank, FindMemory& shared,
                           Found found) {
  std::uint64_t above = 0, of_all = 0;
  unsigned part = kParts - 1;
  while (part > 0 && above + shared.of_part[part] < rank) above += shared.of_part[part--];
  constexpr unsigned kOwn = kPart / kFindThreads;
  const unsigned highest = (part + 1) * kPart - 1 - threadIdx.x * kOwn;
  std::uint64_t own = 0;
  for (unsigned b = 0; b < kOwn; ++b) own += histogram[highest - b];
  std::uint64_t before = above + exclusive_sum(own, of_all, shared.scan);
  for (unsigned b = 0; b < kOwn; ++b) {
    const std::uint64_t here = histogram[highest - b];
    if (before < rank && rank <= before + here) found(highest - b, rank - before);
    before += here;
  }
}

__global__ void __launch_bounds__(kFindThreads)
    find_bucket(const std::uint64_t* counts, std::uint64_t k, bool complete, std::uint64_t* bar) {
  __shared__ FindMemory shared;
  if (complete && bar[kEnough] != 0) return;
  const std::uint64_t held = sum_parts(counts, shared), wanted = k * counts[kHalfBuckets],
                      rank = min(wanted, held);
  const bool enough = held >= wanted || complete;
  if (threadIdx.x == 0) {
    bar[kEnough] = enough ? 1 : 0;
    if (enough) bar[kWanted] = rank;
  }
  if (!enough || rank == 0) return;
  find_place(counts, rank, shared, [&](std::uint64_t bucket, std::uint64_t within) {
    bar[kBucket] = bucket;
    bar[kWithin] = within;
  });
}

__global__ void __launch_bounds__(kFindThreads)
    find_bits(const std::uint64_t* counts, std::uint64_t* bar) {
  __shared__ FindMemory shared;
  if (bar[kWanted] == 0) {
    if (threadIdx.x == 0) bar[kBits] = kNothing, bar[kEquals] = 0;
    return;
  }
  sum_parts(counts, shared);
  find_place(counts, bar[kWithin], shared, [&](std::uint64_t low, std::uint64_t within) {
    bar[kBits] = bar[kBucket] << 16 | low;
    bar[kEquals] = within;
  });
}

__device__ std::size_t slot_of(const SliceOrder& order, std::size_t row) {
  return (order.first_slice + row / order.slice_rows) * order.holders + order.holder;
}

// Of a row, in every lane of the warp.
__device__ unsigned equals_in(const Entries& entries, std::size_t row, unsigned bits,
                              unsigned lane) {
  const std::uint64_t first = entries.starts[row], end = first + entries.counts[row];
  unsigned equal = 0;
  for (std::uint64_t j = first + lane; j < end; j += kWarp)
    equal += __float_as_uint(entries.values[j]) == bits ? 1 : 0;
  return warp_sum(equal);
}

__global__ void count_equal_values(Entries entries, const std::uint64_t* bar, SliceOrder order,
                                   std::uint64_t* counts) {
  if (bar[kWanted] == 0) return;
  const auto bits = static_cast<unsigned>(bar[kBits]);
  const Warps warp = warps_of_grid();
  for (std::size_t row = warp.own; row < entries.rows; row += warp.all) {
    const unsigned equal = equals_in(entries, row, bits, warp.lane);
    if (equal != 0 && warp.lane == 0) atomicAdd(add_to(counts + slot_of(order, row)), Count{equal});
  }
}

// How many of a row's values that equal the bar are kept: what the slices and rows before leave of
// kEquals. Only the slice in which they run out looks at its rows. By a warp.
__device__ std::uint64_t equals_left(const Entries& entries, const std::uint64_t* bar,
                                     const SliceOrder& order, const std::uint64_t* counts,
                                     std::size_t row, unsigned lane) {
  const std::uint64_t equals = bar[kEquals];
  const std::size_t slot = slot_of(order, row);
  std::uint64_t before = 0;
  for (std::size_t s = lane; s < slot; s += kWarp) before += counts[s];
  before = warp_sum(before);
  if (before + counts[slot] <= equals) return counts[slot];
  const auto bits = static_cast<unsigned>(bar[kBits]);
  for (std::size_t r = row / order.slice_rows * order.slice_rows; r < row && before < equals; ++r)
    before += equals_in(entries, r, bits, lane);
  return before < equals ? equals - before : 0;
}

__global__ void keep_above_bar(Entries entries, const std::uint64_t* bar, SliceOrder order,
                               const std::uint64_t* counts, Entries kept, std::uint64_t* used) {
  const auto bits = static_cast<unsigned>(bar[kBits]);
  const Warps warp = warps_of_grid();
  const unsigned lower = (1U << warp.lane) - 1;
  for (std::size_t row = warp.own; row < entries.rows; row += warp.all) {
    const std::uint64_t first = entries.starts[row], end = first + entries.counts[row];
    unsigned larger = 0;
    for (std::uint64_t j = first + warp.lane; j < end; j += kWarp)
      larger += __float_as_uint(entries.values[j]) > bits ? 1 : 0;
    larger = warp_sum(larger);
    unsigned equal = equals_in(entries, row, bits, warp.lane);
    if (equal != 0)
      equal = static_cast<unsigned>(
          min(std::uint64_t{equal}, equals_left(entries, bar, order, counts, row, warp.lane)));
    std::uint64_t at = 0;
    if (warp.lane == 0) {
      if (larger + equal != 0) at = atomicAdd(add_to(used), Count{larger + equal});
      kept.starts[row] = at;
      kept.counts[row] = larger + equal;
    }
    at = __shfl_sync(kWholeWarp, at, 0);
    unsigned same = 0;  // equals of the row so far
    for (std::uint64_t tile = first; larger + equal != 0 && tile < end; tile += kWarp) {
      const std::uint64_t j = tile + warp.lane;
      const float value = j < end ? entries.values[j] : 0.0F;
      const unsigned found = __float_as_uint(value);
      const unsigned equals = __ballot_sync(kWholeWarp, j < end && found == bits);
      const bool keep =
          j < end && (found > bits || (found == bits && same + __popc(equals & lower) < equal));
      const unsigned keeps = __ballot_sync(kWholeWarp, keep);
      if (keep) {
        const std::uint64_t to = at + __popc(keeps & lower);
        kept.features[to] = entries.features[j];
        kept.values[to] = value;
      }
      same += __popc(equals);
      at += __popc(keeps);
    }
  }
}

// One block, since all of the threshold follows from its first value.
__global__ void follow(const std::uint64_t* bar, double rate, float* threshold, std::size_t size) {
  if (bar[kWanted] == 0) return;
  const auto smallest = static_cast<double>(__uint_as_float(static_cast<unsigned>(bar[kBits])));
  const auto before = static_cast<double>(threshold[0]);
  const double after = before == 0 ? smallest : before + rate * (smallest - before);
  __syncthreads();
  for (std::size_t f = threadIdx.x; f < size; f += blockDim.x)
    threshold[f] = static_cast<float>(after);
}

struct AllRanks {
  const float* values;          // [R, n, P]
  const std::uint32_t* counts;  // [R, n]
  std::size_t ranks, rank, rows, places, k;
  bool by_magnitude;
  __device__ const float* row(std::size_t r, std::size_t i) const {
    return values + (r * rows + i) * places;
  }
  __device__ float size_of(float value) const {
    return by_magnitude && value < 0.0F ? -value : value;
  }
};

// What stands before entry j of the own row: larger ones, and equal ones of lower features.
__device__ std::size_t entries_before(const AllRanks& all, std::size_t row, unsigned j, float own) {
  const float value = all.size_of(own);
  std::size_t before = 0;
  for (std::size_t r = 0; r < all.ranks; ++r) {
    const float* values = all.row(r, row);
    const unsigned size = all.counts[r * all.rows + row], lower = r < all.rank    ? size
                                                                  : r == all.rank ? j
                                                                                  : 0;
    for (unsigned i = 0; i < size; ++i) {
      const float other = all.size_of(values[i]);
      before += other > value || (i < lower && other == value) ? 1 : 0;
    }
  }
  return before;
}

__global__ void keep_of_all(AllRanks all, Entries entries) {
  const Warps warp = warps_of_grid();
  const unsigned lower = (1U << warp.lane) - 1;
  for (std::size_t row = warp.own; row < entries.rows; row += warp.all) {
    const float* own = all.row(all.rank, row);
    std::uint32_t* features = entries.features + row * all.places;
    float* values = entries.values + row * all.places;
    const unsigned size = all.counts[all.rank * all.rows + row];
    unsigned kept = 0;
    for (unsigned tile = 0; tile < size; tile += kWarp) {
      const unsigned j = tile + warp.lane;
      const float value = j < size ? own[j] : 0.0F;
      const std::uint32_t feature = j < size ? features[j] : 0;
      const bool keep = j < size && entries_before(all, row, j, value) < all.k;
      __syncwarp();  // the places of a tile are read before any is written
      const unsigned keeps = __ballot_sync(kWholeWarp, keep);
      if (keep) {
        const unsigned to = kept + __popc(keeps & lower);
        features[to] = feature;
        values[to] = value;
      }
      kept += __popc(keeps);
    }
    if (warp.lane == 0) entries.counts[row] = kept;
  }
}

}  // namespace

void count_high(const RowEntries& candidates, TensorView<const std::uint8_t> included,
                TensorView<const std::uint64_t> unless, TensorView<std::uint64_t> counts,
                Stream& stream) {
  clear(counts, stream);
  launch("count_high_halves", count_high_halves, grid_of_rows(candidates.rows()), stream,
         entries_of(candidates), included.data(), included.size(), unless.data(), counts.data());
}

void find_high(TensorView<const std::uint64_t> counts, std::size_t k, bool complete,
               TensorView<std::uint64_t> bar, Stream& stream) {
  launch("find_bucket", find_bucket, Grid{1, kFindThreads}, stream, counts.data(), k, complete,
         bar.data());
}

void count_low(const RowEntries& candidates, TensorView<const std::uint64_t> bar,
               TensorView<std::uint64_t> counts, Stream& stream) {
  clear(counts, stream);
  launch("count_low_halves", count_low_halves, grid_of_rows(candidates.rows()), stream,
         entries_of(candidates), bar.data(), counts.data());
}

void find_low(TensorView<const std::uint64_t> counts, TensorView<std::uint64_t> bar,
              Stream& stream) {
  launch("find_bits", find_bits, Grid{1, kFindThreads}, stream, counts.data(), bar.data());
}

void count_equals(const RowEntries& candidates, TensorView<const std::uint64_t> bar,
                  const SliceOrder& order, TensorView<std::uint64_t> counts, Stream& stream) {
  clear(counts, stream);
  launch("count_equal_values", count_equal_values, grid_of_rows(candidates.rows()), stream,
         entries_of(candidates), bar.data(), order, counts.data());
}

void keep_largest(const RowEntries& candidates, TensorView<const std::uint64_t> bar,
                  const SliceOrder& order, TensorView<const std::uint64_t> counts,
                  const RowEntries& kept, Stream& stream) {
  clear(kept.used, stream);
  launch("keep_above_bar", keep_above_bar, grid_of_rows(candidates.rows()), stream,
         entries_of(candidates), bar.data(), order, counts.data(), entries_of(kept),
         kept.used.data());
}

void follow_bar(TensorView<const std::uint64_t> bar, double rate, TensorView<float> threshold,
                Stream& stream) {
  if (threshold.size() == 0) return;
  launch("follow", follow, Grid{1, kFindThreads}, stream, bar.data(), rate, threshold.data(),
         threshold.size());
}

void keep_merged(TensorView<const float> all_values, TensorView<const std::uint32_t> all_counts,
                 const Merge& merge, const RowEntries& entries, Stream& stream) {
  launch("keep_of_all", keep_of_all, grid_of_rows(entries.rows()), stream,
         AllRanks{all_values.data(), all_counts.data(), all_counts.axis(0), merge.rank,
                  entries.rows(), entries.per_row, merge.k, merge.by_magnitude},
         entries_of(entries));
}

}  // namespace refract::cuda
