#pragma once
#include "refract/tensor/tensor.hpp"

namespace refract {

// x := x Phi(x) = 0.5 x (1 + erf(x / sqrt(2))), in place, any shape. Hugging Face: gelu. Absolute
// error below 2e-7 * max(|x|, 1e-7) against fp64.
void gelu(TensorView<float> x, Stream& stream);

}  // namespace refract
