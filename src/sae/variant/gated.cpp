// Gated SAE (Rajamanoharan et al. 2024 a, Improving Dictionary Learning with Gated Sparse
// Autoencoders).
//
//   pi = u W_enc^T + b_enc, u = x - b_dec: the gate;  m = exp(r_mag) u W_enc^T + b_mag
//   f = ReLU(m) where pi > 0, else 0
//   loss = mean over rows |e|^2 + penalty of ReLU(pi)
//        + mean over rows |x - (ReLU(pi) sg(W_dec) + sg(b_dec))|^2
//
// No gradient passes the gate's step. W_dec and b_dec are constants of the last term, as in the
// paper and in dictionary_learning; SAELens lets it move them.
#include <algorithm>

#include "sae/reconstructing_variant.hpp"
#include "sae/variant_table.hpp"

namespace refract {
namespace {

class Gated final : public ReconstructingVariant {
 public:
  Gated(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows)
      : ReconstructingVariant(config, d_in, dead_after_rows, {.second = Second::gate}) {}

  [[nodiscard]] std::string_view name() const override { return "gated"; }
  [[nodiscard]] bool is_gated() const override { return true; }

  [[nodiscard]] StepShape selection() const override { return {.rounds = {{}}}; }

  void select(std::size_t, const Step& step) const override {
    StepBuffers& own = step.buffers;
    own.encoder.run({.x = step.input(),
                     .included = step.batch.included,
                     .choice = {},
                     .out = own.second.view()},
                    step.stream);
    refine_entries(own.second.view(), magnitude(step.state.parameters), own.entries.view(),
                   step.stream);
  }

  void encode(const SaeParameters& p, TensorView<const float> x, std::size_t,
              SparseActs& acts) const override {
    const Refinement by = magnitude(p);
    encode_rows(p, centred(), x, {}, acts, &by);
  }

  [[nodiscard]] SaeExport export_for_saelens(const SaeParameters& p) const override {
    SaeExport out = export_common("gated", p);
    std::ranges::find(out.tensors, "b_enc", &SaeExport::Named::name)->name = "b_gate";
    out.tensors.push_back({"b_mag", TensorRole::magnitude_bias, p.b_mag.cview()});
    out.tensors.push_back({"r_mag", TensorRole::log_gain, p.r_mag.cview()});
    return out;
  }

 private:
  static Refinement magnitude(const SaeParameters& p) {
    return {.kind = Refinement::Kind::gate,
            .b_gate = p.b_enc.cview(),
            .b_mag = p.b_mag.cview(),
            .r_mag = p.r_mag.cview()};
  }
};

}  // namespace

std::unique_ptr<Variant> make_gated(const SaeConfig& config, std::size_t d_in,
                                    std::uint64_t dead_after_rows) {
  return std::make_unique<Gated>(config, d_in, dead_after_rows);
}

void check_gated(const SaeConfig& config, std::string_view where) {
  expect_penalty(config, "{kind: l1, coefficient: 5}", where);
}

}  // namespace refract
