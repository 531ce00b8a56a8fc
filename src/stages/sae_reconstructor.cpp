#include "refract/stages/sae_reconstructor.hpp"

#include "refract/sae/fold.hpp"

namespace refract {
namespace {

std::vector<float> factors_of(const EvaluatedSae& sae) {
  SaeExport exported = sae.variant->export_for_saelens(*sae.parameters);
  fold(exported, *sae.spaces.input, *sae.spaces.target);
  Stream host;
  const FoldedExport folded(exported, {0, exported.d_sae}, host);
  std::vector<float> factors;
  for (const FeatureFold& feature : folded.features())
    factors.push_back(static_cast<float>(feature.activation));
  return factors;
}

}  // namespace

SaeReconstructor::SaeReconstructor(const EvaluatedSae& sae, Mode mode)
    : sae_(sae),
      mode_(mode),
      input_(sae.spaces.input->on({})),
      target_(sae.spaces.target->on({})),
      factors_(factors_of(sae)) {}

void SaeReconstructor::reconstruct(TensorView<const float> x,
                                   std::span<const std::uint8_t> included, SparseActs& acts,
                                   TensorView<float> x_hat) {
  if (normalised_.shape() != x.shape()) normalised_ = Tensor<float>(x.shape());
  if (u_hat_.shape() != x_hat.shape()) u_hat_ = Tensor<float>(x_hat.shape());
  Stream host;
  input_->to(x, normalised_.view(), host);
  if (mode_ == Mode::training)
    sae_.variant->encode_training(*sae_.parameters, normalised_.cview(), included, 0, acts);
  else
    sae_.variant->encode(*sae_.parameters, normalised_.cview(), 0, acts);
  decode(*sae_.parameters, acts, u_hat_.view());
  target_->back(x, u_hat_.cview(), x_hat, host);
  for (std::size_t i = 0; i < acts.values.size(); ++i) acts.values[i] *= factors_[acts.features[i]];
}

}  // namespace refract
