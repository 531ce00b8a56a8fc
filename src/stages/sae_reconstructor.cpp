#include "refract/stages/sae_reconstructor.hpp"

#include <algorithm>
#include <vector>

#include "refract/base/parallel.hpp"

namespace refract {

// As the export has it: the target's scale is folded into codes and b_dec, so that x_hat is
// written once, in raw units.
void SaeReconstructor::reconstruct(TensorView<const float> x,
                                   std::span<const std::uint8_t> included, SparseActs& acts,
                                   TensorView<float> x_hat) {
  const SaeScale scale = sae_.scale;
  if (scaled_.shape() != x.shape()) scaled_ = Tensor<float>(x.shape());
  constexpr std::size_t kRows = 64;  // of one item
  const std::size_t n = x.axis(0), d = x.axis(1);
  parallel_for((n + kRows - 1) / kRows, [&](std::size_t item) {
    const std::size_t first = item * kRows * d, last = std::min(n, (item + 1) * kRows) * d;
    for (std::size_t i = first; i < last; ++i) scaled_.data()[i] = x.data()[i] * scale.input;
  });
  if (mode_ == Mode::training)
    sae_.variant->encode_training(*sae_.parameters, scaled_.cview(), included, 0, acts);
  else
    sae_.variant->encode(*sae_.parameters, scaled_.cview(), 0, acts);
  for (float& value : acts.values) value /= scale.target;
  std::vector<float> b_dec(sae_.parameters->b_dec.span().begin(),
                           sae_.parameters->b_dec.span().end());
  for (float& value : b_dec) value /= scale.target;
  decode(*sae_.parameters, b_dec, acts, x_hat);
}

}  // namespace refract
