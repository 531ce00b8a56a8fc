#pragma once
// Zeros in device memory, on the stream; for .cu files only.
#include "refract/device/launch_cuda.cuh"
#include "refract/tensor/tensor.hpp"

namespace refract::cuda {
namespace {

template <typename T>
__global__ void clear_values(T* values, std::size_t size) {
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < size; i += stride)
    values[i] = 0;
}

template <typename T>
void clear(TensorView<T> values, Stream& stream) {
  launch("clear_values", clear_values<T>, grid_over(values.size()), stream, values.data(),
         values.size());
}

}  // namespace
}  // namespace refract::cuda
