// AbsTopK with AuxK (Zhu et al. 2025, AbsTopK: Rethinking Sparse Autoencoders For Bidirectional
// Features): the k pre-activations of largest magnitude keep their sign, so that one feature may
// stand for a contrast.
//
//   f = TopK by |pre|, pre = (x - b_dec) W_enc^T + b_enc;  loss: sae/reconstructing_variant.hpp
#include "sae/reconstructing_variant.hpp"
#include "sae/variant_table.hpp"

namespace refract {
namespace {

class AbsTopK final : public ReconstructingVariant {
 public:
  AbsTopK(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows)
      : ReconstructingVariant(config, d_in, dead_after_rows, {.second = Second::aux_k}),
        k_(config.k),
        most_(largest_k(config)) {}

  [[nodiscard]] std::string_view name() const override { return "abstopk"; }

  [[nodiscard]] StepShape selection() const override {
    return {.k = most_, .by_magnitude = true, .rounds = {{.candidates = true}}};
  }

  void select(std::size_t, const Step& step) const override { select_by(choice(step.k), step); }

  void encode(const SaeParameters& parameters, TensorView<const float> x, std::size_t,
              SparseActs& acts) const override {
    encode_rows(parameters, centred(), x, choice(k_), acts);
  }

  [[nodiscard]] SaeExport export_for_saelens(const SaeParameters& p) const override {
    SaeExport out = export_common("abstopk", p);
    out.ranks_features = true;
    out.json_values = {{"k", std::to_string(k_)}, {"rescale_acts_by_decoder_norm", "false"}};
    return out;
  }

 private:
  static Choice choice(std::size_t k) { return {.k = k, .by_magnitude = true}; }

  std::size_t k_, most_;
};

}  // namespace

std::unique_ptr<Variant> make_abstopk(const SaeConfig& config, std::size_t d_in,
                                      std::uint64_t dead_after_rows) {
  return std::make_unique<AbsTopK>(config, d_in, dead_after_rows);
}

}  // namespace refract
