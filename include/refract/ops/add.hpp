#pragma once
#include "refract/tensor/tensor.hpp"

namespace refract {

// x += y, equal shapes, f32.
void add(TensorView<float> x, TensorView<const float> y, Stream& stream);

}  // namespace refract
