#pragma once
// PLACEHOLDER
#include "refract/sae/state.hpp"
namespace refract {
struct CosineShift {
  double mean = 0, p05 = 0, moved = 0;
};
struct Drift {
  CosineShift decoder, encoder;
  double b_dec = 0;
};
}  // namespace refract
