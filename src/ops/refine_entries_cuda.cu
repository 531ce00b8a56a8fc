// Some entries of each row, in their order (ops/refine_entries.hpp).
// Entries by row; threshold, b_gate, b_mag, r_mag [F] f32.
// A warp owns a row, a lane every 32nd entry. 8 bytes read per entry and its feature's vectors, 8
// written: bound by memory. f32 in the CPU's order: bytes equal to its. Deterministic: places come
// from the order.
#include <algorithm>
#include <cstdint>

#include "ops/cuda_bodies.hpp"
#include "ops/refined_value.hpp"
#include "refract/device/launch_cuda.cuh"

namespace refract::cuda {
namespace {

struct Lists {
  const std::uint64_t* from_starts;
  const std::uint32_t *from_counts, *from_features;
  const float* from_values;
  std::uint64_t* starts;
  std::uint32_t *counts, *features;
  float* values;
  const std::uint64_t* from_used;
  std::uint64_t* used;
};

__global__ void refine_rows(Lists lists, std::size_t n, RefinementPointers by) {
  const std::size_t warps = std::size_t{gridDim.x} * blockDim.x / kWarp;
  const unsigned lane = threadIdx.x % kWarp, lower = (1U << lane) - 1;
  if (blockIdx.x == 0 && threadIdx.x == 0) *lists.used = *lists.from_used;
  for (std::size_t row = (std::size_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp; row < n;
       row += warps) {
    const std::uint64_t first = lists.from_starts[row];
    const unsigned count = lists.from_counts[row];
    unsigned kept = 0;
    for (unsigned tile = 0; tile < count; tile += kWarp) {
      const bool any = tile + lane < count;
      const std::uint32_t f = any ? lists.from_features[first + tile + lane] : 0;
      float value = any ? lists.from_values[first + tile + lane] : 0.0F;
      const bool stays = any && refine(by, f, value);
      const unsigned all = __ballot_sync(kWholeWarp, stays);
      if (stays) {
        const std::uint64_t at = first + kept + __popc(all & lower);
        lists.features[at] = f;
        lists.values[at] = value;
      }
      kept += __popc(all);
    }
    if (lane == 0) {
      lists.starts[row] = first;
      lists.counts[row] = kept;
    }
  }
}

}  // namespace

void refine_entries(const RowEntries& from, const Refinement& by, const RowEntries& to,
                    Stream& stream) {
  launch("refine_rows", refine_rows, grid_over(std::max<std::size_t>(1, from.rows() * kWarp)),
         stream,
         Lists{from.starts.data(), from.counts.data(), from.features.data(), from.values.data(),
               to.starts.data(), to.counts.data(), to.features.data(), to.values.data(),
               from.used.data(), to.used.data()},
         from.rows(), pointers_of(by));
}

}  // namespace refract::cuda
