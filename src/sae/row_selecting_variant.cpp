#include "sae/row_selecting_variant.hpp"

#include <string>

namespace refract {

RowSelectingVariant::RowSelectingVariant(const SaeConfig& config, std::size_t d_in,
                                         std::uint64_t dead_after_rows, bool by_magnitude)
    : ReconstructingVariant(config, d_in, dead_after_rows, {.second = Second::aux_k}),
      k_(config.k),
      most_(largest_k(config)),
      by_magnitude_(by_magnitude) {}

Choice RowSelectingVariant::choice(std::size_t k) const {
  return {.k = k, .by_magnitude = by_magnitude_};
}

StepShape RowSelectingVariant::selection() const {
  return {.k = most_, .by_magnitude = by_magnitude_, .rounds = {{.candidates = true}}};
}

void RowSelectingVariant::select(std::size_t, const Step& step) const {
  select_by(choice(step.k), step);
}

void RowSelectingVariant::encode(const SaeParameters& p, TensorView<const float> x, std::size_t,
                                 SparseActs& acts) const {
  encode_rows(p, centred(), x, choice(k_), acts);
}

SaeExport RowSelectingVariant::export_for_saelens(const SaeParameters& p) const {
  SaeExport out = export_common(std::string(name()), p);
  out.ranks_features = true;
  out.json_values = {{"k", std::to_string(k_)}, {"rescale_acts_by_decoder_norm", "false"}};
  out.training = {{"k", std::to_string(k_)}};
  return out;
}

}  // namespace refract
