#pragma once
#include "refract/tensor/tensor.hpp"

namespace refract {

// y = (x - mean) / sqrt(var + eps) * weight + bias, per row; var is the biased variance over D.
// Mean and variance are summed in fp64. x, y [N, D] f32, weight, bias [D] f32; y may be x.
void layer_norm(TensorView<const float> x, TensorView<const float> weight,
                TensorView<const float> bias, float eps, TensorView<float> y, Stream& stream);

}  // namespace refract
