// TopK with AuxK (Gao et al. 2024, Scaling and evaluating sparse autoencoders; SPEC 6).
//
//   f = ReLU(TopK(pre)), pre = (x - b_dec) W_enc^T + b_enc;  loss: sae/reconstructing_variant.hpp
#include "sae/reconstructing_variant.hpp"
#include "sae/variant_table.hpp"

namespace refract {
namespace {

class TopK final : public ReconstructingVariant {
 public:
  TopK(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows)
      : ReconstructingVariant(config, d_in, dead_after_rows, {.second = Second::aux_k}),
        k_(config.k),
        most_(largest_k(config)) {}

  [[nodiscard]] std::string_view name() const override { return "topk"; }

  [[nodiscard]] StepShape selection() const override {
    return {.k = most_, .rounds = {{.candidates = true}}};
  }

  void select(std::size_t, const Step& step) const override { select_by({.k = step.k}, step); }

  void encode(const SaeParameters& parameters, TensorView<const float> x, std::size_t,
              SparseActs& acts) const override {
    encode_rows(parameters, centred(), x, {.k = k_}, acts);
  }

  [[nodiscard]] SaeExport export_for_saelens(const SaeParameters& p) const override {
    SaeExport out = export_common("topk", p);
    out.ranks_features = true;
    out.json_values = {{"k", std::to_string(k_)}, {"rescale_acts_by_decoder_norm", "false"}};
    return out;
  }

 private:
  std::size_t k_, most_;
};

}  // namespace

std::unique_ptr<Variant> make_topk(const SaeConfig& config, std::size_t d_in,
                                   std::uint64_t dead_after_rows) {
  return std::make_unique<TopK>(config, d_in, dead_after_rows);
}

}  // namespace refract
