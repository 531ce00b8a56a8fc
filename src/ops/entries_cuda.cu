// Entries by row -> by feature, rows ascending; counts[f] = rows with an entry of f.
// by row: starts [n] u64, counts [n] u32, features, values [C]; by feature: starts [F + 1] u64,
// rows, values [C]; cursors [F] u32: counts of features, then places given out.
// A warp owns the entries of a row; one block the starts, a thread kEach features at a time; a warp
// owns a feature with at most 32 rows, a block one with more, which it sorts by a bit for each row.
// About 40 bytes moved per entry, log2(entries of its row) reads more to find its value, and 16 per
// feature.
// Integers. Deterministic: places are given out in any order, but the rows of a feature differ, so
// their order is one only. Integer atomics.
#include <algorithm>
#include <cstdint>

#include "ops/clear_cuda.cuh"
#include "ops/cuda_bodies.hpp"
#include "refract/device/block_cuda.cuh"
#include "refract/device/launch_cuda.cuh"

namespace refract::cuda {
namespace {

constexpr unsigned kScanThreads = 1024, kEach = 8;
constexpr unsigned kSortThreads = 256, kWordsEach = 4;
constexpr unsigned kWords = kSortThreads * kWordsEach;  // of bits, one for each row of a window
constexpr std::size_t kWindow = std::size_t{kWords} * 32;
constexpr std::size_t kSortBlocks = 2048;

struct ByRow {
  const std::uint64_t* starts;
  const std::uint32_t *counts, *features;
  const float* values;
};

// Until a feature's rows are sorted they lie where its values will be.
struct ByFeature {
  std::uint64_t* starts;
  std::uint32_t* rows;
  float* values;
};

__device__ std::size_t warp_of_grid() {
  return (std::size_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp;
}
__device__ std::size_t warps_of_grid() { return std::size_t{gridDim.x} * blockDim.x / kWarp; }

__device__ std::uint64_t add_one(std::uint64_t* to) {
  return atomicAdd(reinterpret_cast<unsigned long long*>(to), 1ULL);
}
__device__ std::uint32_t add_one(std::uint32_t* to) { return atomicAdd(to, 1U); }

template <typename Count>
__global__ void count_features(ByRow from, std::size_t n, Count* counts) {
  for (std::size_t row = warp_of_grid(); row < n; row += warps_of_grid()) {
    const std::uint64_t first = from.starts[row], end = first + from.counts[row];
    for (std::uint64_t j = first + threadIdx.x % kWarp; j < end; j += kWarp)
      add_one(counts + from.features[j]);
  }
}

// starts[f] = counts before f; the counts become 0.
__global__ void __launch_bounds__(kScanThreads)
    scan_features(std::uint32_t* counts, std::size_t features, std::uint64_t* starts) {
  __shared__ BlockMemory<std::uint64_t, kScanThreads> shared;
  std::uint64_t before_tile = 0;
  for (std::size_t tile = 0; tile < features; tile += std::size_t{kScanThreads} * kEach) {
    const std::size_t first = tile + std::size_t{threadIdx.x} * kEach;
    std::uint32_t own[kEach];
    std::uint64_t sum = 0, of_tile = 0;
    for (unsigned i = 0; i < kEach; ++i) {
      own[i] = first + i < features ? counts[first + i] : 0;
      sum += own[i];
    }
    std::uint64_t at = before_tile + exclusive_sum(sum, of_tile, shared);
    for (unsigned i = 0; i < kEach && first + i < features; ++i) {
      starts[first + i] = at;
      counts[first + i] = 0;
      at += own[i];
    }
    before_tile += of_tile;
  }
  if (threadIdx.x == 0) starts[features] = before_tile;
}

__global__ void give_out_places(ByRow from, std::size_t n, std::uint32_t* given, ByFeature to) {
  for (std::size_t row = warp_of_grid(); row < n; row += warps_of_grid()) {
    const std::uint64_t first = from.starts[row], end = first + from.counts[row];
    for (std::uint64_t j = first + threadIdx.x % kWarp; j < end; j += kWarp) {
      const std::uint32_t f = from.features[j];
      to.values[to.starts[f] + add_one(given + f)] =
          __uint_as_float(static_cast<std::uint32_t>(row));
    }
  }
}

// A row's features ascend, and f is one of them.
__device__ float value_of(const ByRow& from, std::uint32_t row, std::size_t f) {
  std::uint64_t low = from.starts[row], high = low + from.counts[row] - 1;
  while (low < high) {
    const std::uint64_t middle = (low + high) / 2;
    if (from.features[middle] < f)
      low = middle + 1;
    else
      high = middle;
  }
  return from.values[low];
}

__global__ void sort_short_lists(ByRow from, std::size_t features, ByFeature to) {
  const unsigned lane = threadIdx.x % kWarp;
  for (std::size_t f = warp_of_grid(); f < features; f += warps_of_grid()) {
    const std::uint64_t first = to.starts[f], size = to.starts[f + 1] - first;
    if (size > kWarp) continue;
    const std::uint32_t row = lane < size ? __float_as_uint(to.values[first + lane]) : 0xFFFFFFFFU;
    unsigned rank = 0;
    for (unsigned other = 0; other < size; ++other)
      rank += __shfl_sync(kWholeWarp, row, static_cast<int>(other)) < row ? 1 : 0;
    __syncwarp();  // all have read before one writes
    if (lane < size) {
      to.rows[first + rank] = row;
      to.values[first + rank] = value_of(from, row, f);
    }
  }
}

__global__ void __launch_bounds__(kSortThreads)
    sort_long_lists(ByRow from, std::size_t n, std::size_t features, ByFeature to) {
  __shared__ BlockMemory<unsigned, kSortThreads> shared;
  __shared__ unsigned bits[kWords], before[kWords];
  for (std::size_t f = blockIdx.x; f < features; f += gridDim.x) {
    const std::uint64_t first = to.starts[f], end = to.starts[f + 1];
    if (end - first <= kWarp) continue;
    std::uint64_t sorted = first;
    for (std::size_t window = 0; window < n; window += kWindow) {
      for (unsigned w = threadIdx.x; w < kWords; w += kSortThreads) bits[w] = 0;
      __syncthreads();
      for (std::uint64_t j = first + threadIdx.x; j < end; j += kSortThreads) {
        const std::size_t row = __float_as_uint(to.values[j]);
        if (row >= window && row - window < kWindow)
          atomicAdd(bits + (row - window) / 32, 1U << (row - window) % 32);
      }
      __syncthreads();
      const unsigned word = threadIdx.x * kWordsEach;
      unsigned own = 0, of_window = 0;
      for (unsigned i = 0; i < kWordsEach; ++i) own += __popc(bits[word + i]);
      unsigned at = exclusive_sum(own, of_window, shared);
      for (unsigned i = 0; i < kWordsEach; ++i) {
        before[word + i] = at;
        at += __popc(bits[word + i]);
      }
      __syncthreads();
      for (std::uint64_t j = first + threadIdx.x; j < end; j += kSortThreads) {
        const std::size_t row = __float_as_uint(to.values[j]);
        if (row < window || row - window >= kWindow) continue;
        const auto w = static_cast<unsigned>((row - window) / 32),
                   bit = static_cast<unsigned>((row - window) % 32);
        to.rows[sorted + before[w] + __popc(bits[w] & ((1U << bit) - 1))] =
            static_cast<std::uint32_t>(row);
      }
      sorted += of_window;
      __syncthreads();
    }
    for (std::uint64_t j = first + threadIdx.x; j < end; j += kSortThreads)
      to.values[j] = value_of(from, to.rows[j], f);
  }
}

__global__ void __launch_bounds__(kScanThreads)
    count_included(const std::uint8_t* included, std::size_t n, std::uint64_t* count) {
  __shared__ BlockMemory<unsigned, kScanThreads> shared;
  unsigned own = 0;
  for (std::size_t row = threadIdx.x; row < n; row += kScanThreads) own += included[row] != 0;
  const unsigned all = block_sum(own, shared);
  if (threadIdx.x == 0) *count = all;
}

ByRow by_row(const RowEntries& entries) {
  return {entries.starts.data(), entries.counts.data(), entries.features.data(),
          entries.values.data()};
}

}  // namespace

void sort_by_feature(const RowEntries& entries, const FeatureEntriesBuffer& to, Stream& stream) {
  const FeatureEntries out = to.view();
  const std::size_t n = entries.rows(), features = out.starts.size() - 1;
  std::uint32_t* const cursors = to.work().data();
  const ByRow from = by_row(entries);
  const ByFeature sorted{out.starts.data(), out.rows.data(), out.values.data()};
  clear(to.work().rows(0, features), stream);
  launch("count_features", count_features<std::uint32_t>, grid_over(n * kWarp), stream, from, n,
         cursors);
  launch("scan_features", scan_features, Grid{1, kScanThreads}, stream, cursors, features,
         out.starts.data());
  launch("give_out_places", give_out_places, grid_over(n * kWarp), stream, from, n, cursors,
         sorted);
  launch("sort_short_lists", sort_short_lists, grid_over(features * kWarp), stream, from, features,
         sorted);
  // A block looks at several features: most have a short list.
  launch("sort_long_lists", sort_long_lists, Grid{std::min(features, kSortBlocks), kSortThreads},
         stream, from, n, features, sorted);
}

void count_entries(const RowEntries& entries, TensorView<const std::uint8_t> included,
                   TensorView<std::uint64_t> counts, Stream& stream) {
  const std::size_t n = entries.rows(), features = counts.size() - 1;
  clear(counts, stream);
  launch("count_features", count_features<std::uint64_t>, grid_over(n * kWarp), stream,
         by_row(entries), n, counts.data());
  launch("count_included", count_included, Grid{1, kScanThreads}, stream, included.data(), n,
         counts.data() + features);
}

}  // namespace refract::cuda
