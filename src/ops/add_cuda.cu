// x += y (ops/add.hpp).
// x, y: any shape, f32.
// A thread owns every (grid size)-th element.
// 12 bytes moved per element: bound by memory.
// f32, each element alone: deterministic, bytes equal to the CPU's.
#include "ops/cuda_bodies.hpp"
#include "refract/device/launch_cuda.cuh"

namespace refract::cuda {
namespace {

__global__ void add_values(float* x, const float* y, std::size_t size) {
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < size; i += stride)
    x[i] += y[i];
}

}  // namespace

void add(TensorView<float> x, TensorView<const float> y, Stream& stream) {
  launch("add_values", add_values, grid_over(x.size()), stream, x.data(), y.data(), x.size());
}

}  // namespace refract::cuda
