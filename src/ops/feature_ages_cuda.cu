// age[f] = counts[f] != 0 ? 0 : age[f] + rows; the features with age >= dead_after, ascending.
// counts [F + 1], age [F] u64; dead [F] u32, count [1] u64.
// A thread owns features of update_ages. One block lists: a warp owns kRounds * 32 features in a
// row of each tile, read kRounds votes ahead; what is behind depends on how many are before.
// 24 bytes moved per feature to age, at most 12 to list.
// Integers. Deterministic: a place is a count of what is before, equal to the CPU's.
#include <cstdint>

#include "ops/cuda_bodies.hpp"
#include "refract/device/block_cuda.cuh"
#include "refract/device/launch_cuda.cuh"

namespace refract::cuda {
namespace {

constexpr unsigned kThreads = 1024, kRounds = 16;

__global__ void age_features(const std::uint64_t* counts, bool first_pass, std::uint64_t* age,
                             std::size_t features) {
  const std::uint64_t rows = first_pass ? counts[features] : 0;
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t f = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; f < features;
       f += stride)
    age[f] = counts[f] != 0 ? 0 : age[f] + rows;
}

__global__ void __launch_bounds__(kThreads)
    list_old(const std::uint64_t* age, std::size_t features, std::uint64_t dead_after,
             std::uint32_t* dead, std::uint64_t* count) {
  __shared__ BlockMemory<unsigned, kThreads> shared;
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  std::uint64_t listed = 0;
  for (std::size_t tile = 0; tile < features; tile += std::size_t{kThreads} * kRounds) {
    const std::size_t first = tile + std::size_t{warp} * kWarp * kRounds + lane;
    unsigned old[kRounds], of_warp = 0, of_tile = 0;
    for (unsigned r = 0; r < kRounds; ++r) {
      const std::size_t f = first + r * kWarp;
      old[r] = __ballot_sync(kWholeWarp, f < features && age[f] >= dead_after);
      of_warp += __popc(old[r]);
    }
    const unsigned before = exclusive_sum(lane == 0 ? of_warp : 0U, of_tile, shared);
    std::uint64_t at = listed + __shfl_sync(kWholeWarp, before, 0);
    for (unsigned r = 0; r < kRounds; ++r) {
      if ((old[r] >> lane & 1U) != 0)
        dead[at + __popc(old[r] & ((1U << lane) - 1))] =
            static_cast<std::uint32_t>(first + r * kWarp);
      at += __popc(old[r]);
    }
    listed += of_tile;
  }
  if (threadIdx.x == 0) *count = listed;
}

__global__ void note(const std::uint64_t* count, double* scalar) {
  *scalar = static_cast<double>(*count);
}

}  // namespace

void update_ages(TensorView<const std::uint64_t> counts, bool first_pass,
                 TensorView<std::uint64_t> age, Stream& stream) {
  launch("age_features", age_features, grid_over(age.size()), stream, counts.data(), first_pass,
         age.data(), age.size());
}

void list_dead(TensorView<const std::uint64_t> age, std::uint64_t dead_after,
               const DeadFeatures& dead, Stream& stream) {
  launch("list_old", list_old, Grid{1, kThreads}, stream, age.data(), age.size(), dead_after,
         dead.features.data(), dead.count.data());
}

void note_dead(TensorView<const std::uint64_t> count, TensorView<double> scalars, Stream& stream) {
  launch("note", note, Grid{1, 1}, stream, count.data(), scalars.data() + kDead);
}

}  // namespace refract::cuda
