// ReLU with an L1 penalty, SAELens' "standard" (Bricken et al. 2023; Anthropic's April 2024 update
// without its decoder norms, which are 1 here).
//
//   f = ReLU(pre), pre = (x - b_dec) W_enc^T + b_enc
//   loss = mean over rows |x - x_hat|^2 + c(t) * mean over rows sum_f f
//
// c(t) rises linearly to l1.coefficient.
// SAELens' penalty is c * mean over rows sum_f |f| * |W_dec[f]|: the same numbers, since rows of
// W_dec have norm 1; the norm's gradient lies along the row and is projected out.
//
// With a target_hook it is a transcoder (Dunefsky et al. 2024): it reads one place and reconstructs
// another, e.g. an MLP's input and output. b_dec is the target's and is not subtracted from x.
#include <cmath>

#include "refract/base/error.hpp"
#include "sae/reconstructing_variant.hpp"
#include "sae/variant_table.hpp"

namespace refract {
namespace {

class Relu final : public ReconstructingVariant {
 public:
  Relu(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows)
      : ReconstructingVariant(config, d_in, {.coefficient = 0}, dead_after_rows, 1),
        l1_(config.l1) {}

  [[nodiscard]] std::string_view name() const override { return "relu"; }

  [[nodiscard]] StepShape selection() const override { return {.rounds = {{}}}; }

  void select(std::size_t, const Step& step) const override {
    step.buffers.encoder.run({.x = step.input(),
                              .included = step.batch.included,
                              .choice = {},
                              .out = step.buffers.entries.view()},
                             step.stream);
  }

  void encode(const SaeParameters& parameters, TensorView<const float> x, std::size_t,
              SparseActs& acts) const override {
    encode_rows(parameters, centred(), x, {}, acts);
  }

  [[nodiscard]] SaeExport export_for_saelens(const SaeParameters& p) const override {
    SaeExport out = export_common(centred() ? "standard" : "transcoder", p);
    out.apply_b_dec_to_input = centred();
    if (!centred()) out.json_values = {{"d_out", std::to_string(p.d_out())}};
    return out;
  }

 private:
  [[nodiscard]] double l1(std::uint64_t step) const override {
    const auto warmup = static_cast<double>(l1_.warmup_steps), at = static_cast<double>(step + 1);
    return l1_.coefficient * (at < warmup ? at / warmup : 1);
  }

  L1Config l1_;
};

}  // namespace

std::unique_ptr<Variant> make_relu(const SaeConfig& config, std::size_t d_in,
                                   std::uint64_t dead_after_rows) {
  return std::make_unique<Relu>(config, d_in, dead_after_rows);
}

void check_relu(const SaeConfig& config, std::string_view where) {
  if (!(config.l1.coefficient > 0) || !std::isfinite(config.l1.coefficient))
    throw ConfigError("{}.l1.coefficient is {}; expected a positive number, e.g. 5.", where,
                      config.l1.coefficient);
}

}  // namespace refract
