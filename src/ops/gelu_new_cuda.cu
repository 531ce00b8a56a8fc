// x := x / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3), in place.
// x: any shape, f32.
// A thread owns every (grid size)-th element.
// 8 bytes moved per element: bound by memory.
// f32 throughout, the same roundings as the CPU body up to exp: expf, at most 1 ulp off (2 in older
// toolkits). Deterministic: no element sees another.
#include "ops/cuda_bodies.hpp"
#include "refract/device/launch_cuda.cuh"

namespace refract::cuda {
namespace {

__global__ void gelu_new_values(float* x, std::size_t size) {
  constexpr float kMinusTwoRoot = -1.5957691216057308F;  // -2 sqrt(2 / pi)
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < size; i += stride) {
    const float value = x[i];
    const float minus_2u = kMinusTwoRoot * (value + 0.044715F * value * value * value);
    x[i] = value / (1.0F + expf(minus_2u));
  }
}

}  // namespace

void gelu_new(TensorView<float> x, Stream& stream) {
  launch("gelu_new", gelu_new_values, grid_over(x.size()), stream, x.data(), x.size());
}

}  // namespace refract::cuda
