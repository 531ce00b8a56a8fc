#pragma once
// Reconstruction of a row from a few of many directions, as all baselines but the frozen-random SAE
// do it.
#include <functional>
#include <memory>
#include <vector>

#include "refract/analysis/coordinate_descent.hpp"
#include "refract/stages/reconstructor.hpp"

namespace refract {

struct BaselineDictionary {
  std::vector<float> mean;   // [D]
  Tensor<float> directions;  // V [m, D]: x_hat = mean + codes V
  // Codes [n, m] of rows less their mean [n, D], by the method's own rule.
  std::function<void(TensorView<const float> centred, TensorView<float> codes)> encode;
  bool leading = false;     // the first k are used, not the k that contribute most
  bool orthonormal = true;  // codes of some do not depend on the others
  Codes sign = Codes::of_any_sign;
};

// Rows less the mean.
[[nodiscard]] Tensor<float> centred(TensorView<const float> x, std::span<const float> mean);

// k is at least 1; at most all components are used.
[[nodiscard]] std::unique_ptr<Reconstructor> reconstructor_of(
    std::shared_ptr<const BaselineDictionary> dictionary, std::size_t k);

}  // namespace refract
