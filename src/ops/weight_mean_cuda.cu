// mean += rate (w - mean) (ops/weight_mean.hpp).
// w, mean [any] f32; scalars f64.
// A thread owns every stride-th value.
// 12 bytes moved per value: bound by memory.
// f32, each value alone, in the CPU body's order of operations: bytes equal to the CPU's,
// deterministic.
#include "ops/cuda_bodies.hpp"
#include "refract/device/launch_cuda.cuh"

namespace refract::cuda {
namespace {

__global__ void follow(const float* w, std::size_t size, float rate, const double* scalars,
                       float* mean) {
  if (scalars[kFinite] == 0) return;
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < size; i += stride)
    mean[i] += rate * (w[i] - mean[i]);
}

}  // namespace

void follow_weights(TensorView<const float> w, float rate, TensorView<const double> scalars,
                    TensorView<float> mean, Stream& stream) {
  launch("follow", follow, grid_over(w.size()), stream, w.data(), w.size(), rate, scalars.data(),
         mean.data());
}

}  // namespace refract::cuda
