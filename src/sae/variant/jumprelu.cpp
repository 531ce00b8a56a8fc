// JumpReLU (Rajamanoharan et al. 2024 b, Jumping Ahead: Improving Reconstruction Fidelity with
// JumpReLU Sparse Autoencoders).
//
//   f = pre where pre > theta, else 0;  pre = (x - b_dec) W_enc^T + b_enc;  loss:
//   sae/reconstructing_variant.hpp, with a penalty, most often l0
//
// theta [F] is trained itself, in fp32, not its logarithm, and kept at or above 0. Its gradients
// are straight-through estimates from the rows with |pre - theta| < bandwidth / 2:
//   d f / d theta = -theta / bandwidth,  d L0 / d theta = -1 / bandwidth
// As in SAELens, pre is not rectified before, and neither estimate reaches it: d f / d pre is 1
// above theta, else 0. Unlike Gemma Scope, b_dec is subtracted from x.
#include <cmath>
#include <limits>

#include "refract/base/error.hpp"
#include "sae/reconstructing_variant.hpp"
#include "sae/variant_table.hpp"

namespace refract {
namespace {

class JumpRelu final : public ReconstructingVariant {
 public:
  JumpRelu(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows)
      : ReconstructingVariant(config, d_in, dead_after_rows,
                              {.second = Second::window, .bandwidth = config.jumprelu.bandwidth}),
        config_(config.jumprelu) {}

  [[nodiscard]] std::string_view name() const override { return "jumprelu"; }
  [[nodiscard]] bool has_threshold() const override { return true; }
  void initialise(SaeParameters& fresh) const override {
    for (float& threshold : fresh.threshold.span())
      threshold = static_cast<float>(config_.threshold);
  }

  [[nodiscard]] StepShape selection() const override {
    return {.candidates = true, .rounds = {{}}};
  }

  // What may count lies above the window's lower edge.
  void select(std::size_t, const Step& step) const override {
    StepBuffers& own = step.buffers;
    const TensorView<const float> threshold = step.state.parameters.threshold.cview();
    const float half = static_cast<float>(config_.bandwidth / 2);
    own.encoder.run({.x = step.input(),
                     .included = step.batch.included,
                     .choice = {.floor = threshold,
                                .offset = -half,
                                .least = -std::numeric_limits<float>::infinity()},
                     .out = own.candidates.view()},
                    step.stream);
    refine_entries(own.candidates.view(), {.kind = Refinement::Kind::above, .threshold = threshold},
                   own.entries.view(), step.stream);
    refine_entries(own.candidates.view(),
                   {.kind = Refinement::Kind::window, .threshold = threshold, .half_width = half},
                   own.second.view(), step.stream);
  }

  void encode(const SaeParameters& p, TensorView<const float> x, std::size_t,
              SparseActs& acts) const override {
    encode_rows(p, centred(), x, {.floor = p.threshold.cview()}, acts);
  }

  [[nodiscard]] SaeExport export_for_saelens(const SaeParameters& p) const override {
    SaeExport out = export_common("jumprelu", p);
    out.tensors.push_back({"threshold", TensorRole::threshold, p.threshold.cview()});
    return out;
  }

 private:
  JumpReluConfig config_;
};

}  // namespace

std::unique_ptr<Variant> make_jumprelu(const SaeConfig& config, std::size_t d_in,
                                       std::uint64_t dead_after_rows) {
  return std::make_unique<JumpRelu>(config, d_in, dead_after_rows);
}

void check_jumprelu(const SaeConfig& config, std::string_view where) {
  if (!(config.jumprelu.threshold >= 0) || !std::isfinite(config.jumprelu.threshold))
    throw ConfigError("{}.jumprelu.threshold is {}; expected a number from 0 on, e.g. 0.01.", where,
                      config.jumprelu.threshold);
  if (!(config.jumprelu.bandwidth > 0) || !std::isfinite(config.jumprelu.bandwidth))
    throw ConfigError("{}.jumprelu.bandwidth is {}; expected a positive number, e.g. 0.05.", where,
                      config.jumprelu.bandwidth);
  expect_penalty(config, "{kind: l0, coefficient: 1, target: 32}", where);
}

}  // namespace refract
