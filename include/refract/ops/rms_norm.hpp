#pragma once
#include "refract/ops/head_columns.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

// y = x / sqrt(mean(x^2) + eps) * weight, per row. transformers: LlamaRMSNorm, and Gemma's with its
// 1 + weight as the weight. The mean is taken in fp64; every y is within three roundings of fp32.
// x, y [N, D] f32, weight [D] f32; y may be x.
void rms_norm(TensorView<const float> x, TensorView<const float> weight, float eps,
              TensorView<float> y, Stream& stream);

// The same of every head by itself, in place: q_norm and k_norm of Qwen3 and Gemma 3. x [N, C] f32,
// weight [Dh] f32 for all of them.
void rms_norm_heads(TensorView<float> x, HeadColumns heads, TensorView<const float> weight,
                    float eps, Stream& stream);

}  // namespace refract
