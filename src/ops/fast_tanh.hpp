#pragma once
// tanh as straight-line arithmetic that the compiler vectorises: near 0 the odd polynomial of
// Cephes tanhf, which does not cancel, else 1 - 2 / (exp(2|x|) + 1). Relative error below 2e-7.
#include <cmath>

#include "ops/fast_exp.hpp"

namespace refract {

inline float fast_tanh(float x) {
  const float size = std::fabs(x), z = x * x;
  float p = -5.70498872745e-3F;
  p = p * z + 2.06390887954e-2F;
  p = p * z + -5.37397155531e-2F;
  p = p * z + 1.33314422036e-1F;
  p = p * z + -3.33332819422e-1F;
  const float near = p * z * x + x;
  const float far = std::copysign(1.0F - 2.0F / (fast_exp(2.0F * size) + 1.0F), x);
  return size < 0.625F ? near : far;
}

}  // namespace refract
