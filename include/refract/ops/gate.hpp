#pragma once
// The gates of MLPs whose first product makes gate and value at once: y = act(g) v, row by row, for
// x = [g | v]. x [N, 2 I], y [N, I] f32; y is not x. The absolute error of act is below 3e-7 *
// max(|g|, 1e-7) against fp64.
#include "refract/tensor/tensor.hpp"

namespace refract {

// act(g) = g / (1 + exp(-g)). transformers: LlamaMLP with hidden_act "silu".
void silu_gate(TensorView<const float> x, TensorView<float> y, Stream& stream);

// act is that of gelu_new. transformers: GemmaMLP with "gelu_pytorch_tanh".
void gelu_gate(TensorView<const float> x, TensorView<float> y, Stream& stream);

}  // namespace refract
