// ReLU, SAELens' "standard" (Bricken et al. 2023; Conerly et al. 2024), with what asks for
// sparsity: L1 where nothing else is set (sae/penalty.hpp).
//
//   f = ReLU(pre), pre = (x - b_dec) W_enc^T + b_enc;  loss: sae/reconstructing_variant.hpp
//
// With a target_hook it is a transcoder (Dunefsky et al. 2024): it reads one place and reconstructs
// another, e.g. an MLP's input and output. b_dec is the target's and is not subtracted from x.
#include "refract/base/error.hpp"
#include "sae/reconstructing_variant.hpp"
#include "sae/variant_table.hpp"

namespace refract {
namespace {

class Relu final : public ReconstructingVariant {
 public:
  Relu(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows)
      : ReconstructingVariant(config, d_in, dead_after_rows, {}) {}

  [[nodiscard]] std::string_view name() const override { return "relu"; }

  [[nodiscard]] StepShape selection() const override { return {.rounds = {{}}}; }

  void select(std::size_t, const Step& step) const override { select_by({}, step); }

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
};

}  // namespace

std::unique_ptr<Variant> make_relu(const SaeConfig& config, std::size_t d_in,
                                   std::uint64_t dead_after_rows) {
  return std::make_unique<Relu>(config, d_in, dead_after_rows);
}

void check_relu(const SaeConfig& config, std::string_view where) {
  if (config.penalty.coefficient == 0)
    throw ConfigError(
        "{}.penalty.coefficient is 0, but nothing else makes variant relu sparse: give a positive "
        "number.",
        where);
}

}  // namespace refract
