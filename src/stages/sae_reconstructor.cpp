#include "refract/stages/sae_reconstructor.hpp"

#include "refract/base/parallel.hpp"

namespace refract {

void SaeReconstructor::reconstruct(TensorView<const float> x,
                                   std::span<const std::uint8_t> included, SparseActs& acts,
                                   TensorView<float> x_hat) {
  const auto scale = static_cast<float>(sae_.input_scale);
  if (scaled_.shape() != x.shape()) scaled_ = Tensor<float>(x.shape());
  parallel_for(x.axis(0), [&](std::size_t row) {
    for (std::size_t j = 0; j < x.axis(1); ++j) scaled_.row(row)[j] = x.row(row)[j] * scale;
  });
  if (mode_ == Mode::training)
    sae_.variant->encode_training(*sae_.parameters, scaled_.cview(), included, 0, acts);
  else
    sae_.variant->encode(*sae_.parameters, scaled_.cview(), 0, acts);
  decode(*sae_.parameters, acts, x_hat);
  parallel_for(x.axis(0), [&](std::size_t row) {
    for (float& value : x_hat.row(row)) value /= scale;
  });
  if (scale != 1) {
    // The codes too are those of raw rows, as the export's are.
    for (float& value : acts.values) value /= scale;
  }
}

}  // namespace refract
