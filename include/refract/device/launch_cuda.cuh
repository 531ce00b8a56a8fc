#pragma once
// How every .cu of the project starts a kernel, for .cu files only. Compiled by nvcc it runs on the
// device; tests/emulated compiles the same files as C++ and runs the threads as fibers, with the
// same rules and some stricter ones. So a kernel is plain CUDA C++ in an anonymous namespace and
// uses nothing but:
//   threadIdx blockIdx blockDim gridDim (x) __global__ __device__ __shared__ __launch_bounds__
//   __syncthreads __syncwarp __shfl_sync _up_ _down_ _xor_ __ballot_sync __any_sync __all_sync
//   atomicAdd (int, u32, u64, f32, f64) atomicMax atomicMin (int, u32, u64) __threadfence
//   __float_as_uint __uint_as_float __popc __clz __ffs min max fmaf sqrtf rsqrtf expf and <cmath>
// __shared__ stands in the kernel itself, which then is no template, and in no function it calls:
// those, templates or not, are given a reference.
// There is no dynamic shared memory: sizes are constants. What a block shares is garbage until
// written.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "refract/device/cuda_launch.hpp"

namespace refract::cuda {

inline constexpr unsigned kWarp = 32;
inline constexpr unsigned kWholeWarp = 0xFFFFFFFFU;

struct Grid {
  std::size_t blocks;  // at most 2^31 - 1
  unsigned threads;    // of a block: at most 1024, a multiple of kWarp where warps work together
};

// For a loop `for (i = block * threads + thread; i < items; i += blocks * threads)`: a thread for
// each item, and beyond `most` blocks several items for a thread.
[[nodiscard]] inline Grid grid_over(std::size_t items, unsigned threads = 256,
                                    std::size_t most = 4096) {
  return {std::min(most, (items + threads - 1) / threads), threads};
}

// Enqueues kernel(arguments...) on the stream's device; nothing where the grid has no block. `name`
// is the kernel's, for the message. Throws SystemError where the launch is refused, and under
// tests/emulated also for what the kernel did wrong.
template <typename... Parameters, typename... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), Grid grid, Stream& stream,
            Arguments&&... arguments) {
  if (grid.blocks == 0) return;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(grid.blocks));
  config.blockDim = dim3(grid.threads);
  config.stream = static_cast<cudaStream_t>(enter(stream));
  static_cast<void>(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
  check_launch(name, stream);
}

}  // namespace refract::cuda
