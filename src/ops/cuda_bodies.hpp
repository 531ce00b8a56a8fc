#pragma once
// The CUDA twins of the ops, called only where has_cuda holds, with shapes already checked.
#include "refract/tensor/tensor.hpp"

namespace refract::cuda {

void gelu_new(TensorView<float> x, Stream& stream);

}  // namespace refract::cuda
