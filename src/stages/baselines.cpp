#include "refract/stages/baselines.hpp"

#include <algorithm>
#include <cmath>

#include "refract/base/error.hpp"
#include "refract/sae/initialise.hpp"
#include "refract/stages/sae_reconstructor.hpp"
#include "stages/baseline_dictionary.hpp"
#include "stages/baseline_fits.hpp"

namespace refract {
namespace {

constexpr BaselineRow kTable[] = {
    {"pca", "The mean and the projection on the first k principal components.", false,
     collective_fit_pca},
    {"pca_topk", "The k largest of all principal components of each row.", false,
     collective_fit_pca_topk},
    {"ica", "The k independent components (FastICA) that contribute most to each row.", true,
     collective_fit_ica},
    {"semi_nmf",
     "The k that contribute most to each row, of as many parts as dimensions with codes that are "
     "never negative (semi-NMF): an SAE's decoder with the best codes, fitted without sparsity.",
     true, collective_fit_semi_nmf},
    {"split_nmf",
     "The same with parts that are never negative either, of rows split into [max(x, 0), "
     "max(-x, 0)] (NMF).",
     true, collective_fit_split_nmf},
    {"neurons", "The k coordinates of each row that are furthest from their mean.", false,
     collective_fit_neurons},
    {"random",
     "An SAE of this size and initialisation that was never trained; its k strongest features.",
     false, nullptr},
};

const BaselineRow* find(std::string_view name) {
  const auto* row = std::ranges::find(kTable, name, &BaselineRow::name);
  return row == std::end(kTable) ? nullptr : row;
}

class FrozenRandom final : public Reconstructor {
 public:
  FrozenRandom(RandomControl control, const SaeSpaces& spaces)
      : control_(std::move(control)),
        sae_({&control_.config, control_.variant.get(), &control_.parameters, spaces}) {}

  [[nodiscard]] std::size_t components() const override { return sae_.components(); }
  void reconstruct(TensorView<const float> x, std::span<const std::uint8_t> included,
                   SparseActs& acts, TensorView<float> x_hat) override {
    sae_.reconstruct(x, included, acts, x_hat);
  }

 private:
  RandomControl control_;
  SaeReconstructor sae_;
};

}  // namespace

std::span<const BaselineRow> baseline_table() { return kTable; }

void check_baselines(std::span<const std::string> names) {
  for (const std::string& name : names) {
    if (find(name)) continue;
    std::string known;
    for (const BaselineRow& row : kTable)
      known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
    throw ConfigError("evaluate.baselines has \"{}\"; known baselines: {}.", name, known);
  }
}

std::size_t active_components(double l0) {
  return static_cast<std::size_t>(std::max(1.0, std::round(l0)));
}

RandomControl random_control(const SaeConfig& sae, std::size_t k, std::size_t d_in,
                             std::span<const float> b_dec) {
  RandomControl control;
  control.config = {.name = sae.name + ".random-control",
                    .hooks = sae.hooks,
                    .target_hook = sae.target_hook,
                    .variant = "topk",
                    .d_sae = sae.d_sae,
                    .k = std::min(k, sae.d_sae),
                    .seed = sae.seed,
                    .normalize = sae.normalize,
                    .non_negative_decoder = sae.non_negative_decoder};
  control.variant = make_variant(control.config, d_in, 1);
  control.parameters =
      initial_parameters(control.config, *control.variant, d_in, b_dec, Purpose::random_control);
  return control;
}

RandomControl random_control(const EvaluatedSae& sae, const HookCalibration& calibration,
                             double l0) {
  return random_control(*sae.config, active_components(l0), sae.parameters->d_in(),
                        sae.spaces.target->of_point(calibration.geometric_median));
}

Baselines Baselines::collective_fit(std::span<const std::string> names,
                                    const BaselineSources& sources, SharedStop& stop,
                                    Communicator& ranks) {
  check_baselines(names);
  Baselines out;
  out.calibration_ = sources.calibration;
  BaselineFitting fitting(sources, stop, ranks);
  for (const std::string& name : names) {
    const BaselineRow& row = *find(name);
    if (row.needs_rows && !sources.training)
      throw ConfigError(
          "evaluate.baselines has {}, which is fitted on training rows, and this run keeps none: "
          "set probe.tokens, or leave it out.",
          name);
    if (!out.fitted_.contains(name))
      out.fitted_[name] = row.collective_fit ? row.collective_fit(fitting) : FittedBaseline{};
  }
  return out;
}

Baseline Baselines::at(std::string_view name, const EvaluatedSae& sae, double l0) const {
  const auto found = fitted_.find(name);
  REFRACT_ASSERT(found != fitted_.end(), "baseline {} was not fitted", name);
  const std::size_t k = active_components(l0);
  Baseline out{nullptr, found->second.facts};
  if (found->second.dictionary)
    out.reconstructor = reconstructor_of(found->second.dictionary, k);
  else
    out.reconstructor =
        std::make_unique<FrozenRandom>(random_control(sae, *calibration_, l0), sae.spaces);
  out.facts.components = out.reconstructor->components();
  out.facts.kept = std::min<std::uint64_t>(k, out.facts.components);
  return out;
}

}  // namespace refract
