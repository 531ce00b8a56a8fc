#pragma once
// GELU in its tanh form, 0.5 x (1 + tanh(u)) with u = sqrt(2/pi) (x + 0.044715 x^3), computed as
// x / (1 + exp(-2u)), which does not cancel for negative x.
#include "ops/fast_exp.hpp"

namespace refract {

constexpr float gelu_tanh(float x) {
  constexpr float kMinusTwoRoot = -1.5957691216057308F;  // -2 sqrt(2 / pi)
  const float minus_2u = kMinusTwoRoot * (x + 0.044715F * x * x * x);
  return x / (1.0F + fast_exp(minus_2u));
}

}  // namespace refract
