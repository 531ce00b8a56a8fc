#pragma once
// What the threads of a block compute together. Every thread of the block calls, none has returned;
// the block has kThreads threads, a multiple of 32. The shared memory is given, and may be used
// again at once. Deterministic: additions in one fixed order, whatever the schedule.
#include "refract/device/launch_cuda.cuh"

namespace refract::cuda {

template <typename T, unsigned kThreads>
struct BlockMemory {
  static_assert(kThreads % kWarp == 0 && kThreads <= 1024);
  T of_warp[kThreads / kWarp];
};

// The sum over the threads before this one; `total` over all of them. T is an integer.
template <typename T, unsigned kThreads>
__device__ T exclusive_sum(T own, T& total, BlockMemory<T, kThreads>& shared) {
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  T upto = own;
  for (unsigned step = 1; step < kWarp; step *= 2) {
    const T below = __shfl_up_sync(kWholeWarp, upto, step);
    if (lane >= step) upto += below;
  }
  if (lane == kWarp - 1) shared.of_warp[warp] = upto;
  __syncthreads();
  T before{};
  total = T{};
  for (unsigned w = 0; w < kThreads / kWarp; ++w) {
    if (w == warp) before = total;
    total += shared.of_warp[w];
  }
  __syncthreads();
  return before + (upto - own);
}

// Over the lanes of a warp, all of which call; in every lane.
template <typename T>
__device__ T warp_sum(T own) {
  for (unsigned step = kWarp / 2; step > 0; step /= 2)
    own += __shfl_xor_sync(kWholeWarp, own, static_cast<int>(step));
  return own;
}
template <typename T>
__device__ T warp_max(T own) {
  for (unsigned step = kWarp / 2; step > 0; step /= 2) {
    const T other = __shfl_xor_sync(kWholeWarp, own, static_cast<int>(step));
    if (other > own) own = other;
  }
  return own;
}

// Over all threads; in every thread.
template <typename T, unsigned kThreads>
__device__ T block_sum(T own, BlockMemory<T, kThreads>& shared) {
  own = warp_sum(own);
  if (threadIdx.x % kWarp == 0) shared.of_warp[threadIdx.x / kWarp] = own;
  __syncthreads();
  T total = shared.of_warp[0];
  for (unsigned w = 1; w < kThreads / kWarp; ++w) total += shared.of_warp[w];
  __syncthreads();
  return total;
}
template <typename T, unsigned kThreads>
__device__ T block_max(T own, BlockMemory<T, kThreads>& shared) {
  own = warp_max(own);
  if (threadIdx.x % kWarp == 0) shared.of_warp[threadIdx.x / kWarp] = own;
  __syncthreads();
  T largest = shared.of_warp[0];
  for (unsigned w = 1; w < kThreads / kWarp; ++w)
    if (shared.of_warp[w] > largest) largest = shared.of_warp[w];
  __syncthreads();
  return largest;
}

}  // namespace refract::cuda
