#pragma once
#include "refract/tensor/tensor.hpp"

namespace refract {

// x := cap tanh(x / cap), in place, any shape, f32; cap > 0. transformers: the logits of Gemma 2
// (final_logit_softcapping). Relative error below 3e-7 against fp64; never beyond cap.
void soft_cap(TensorView<float> x, float cap, Stream& stream);

}  // namespace refract
