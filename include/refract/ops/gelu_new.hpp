#pragma once
#include "refract/tensor/tensor.hpp"

namespace refract {

// x := 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), in place, any shape. Hugging Face: gelu_new
// and gelu_pytorch_tanh. Computed as x / (1 + exp(-2u)), which does not cancel for negative x:
// absolute error below 3e-7 * max(|x|, 1e-7) against fp64.
void gelu_new(TensorView<float> x, Stream& stream);

}  // namespace refract
