#pragma once
#include "refract/sae/config.hpp"
#include "refract/sae/variant.hpp"

namespace refract {

// What is evaluated; borrowed.
struct EvaluatedSae {
  const SaeConfig* config = nullptr;
  const Variant* variant = nullptr;
  const SaeParameters* parameters = nullptr;
  double input_scale = 1;
};

}  // namespace refract
