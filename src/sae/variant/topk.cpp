// TopK with AuxK (Gao et al. 2024, Scaling and evaluating sparse autoencoders; SPEC 6).
//
//   f = ReLU(TopK(pre)), pre = (x - b_dec) W_enc^T + b_enc;  loss: sae/reconstruction.hpp
#include "sae/reconstruction.hpp"
#include "sae/variant_table.hpp"

namespace refract {
namespace {

class TopK final : public Variant {
 public:
  TopK(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows)
      : k_(config.k), loss_(config, d_in, config.aux, dead_after_rows) {}

  [[nodiscard]] std::string_view name() const override { return "topk"; }

  [[nodiscard]] StepShape shape() const override {
    StepShape shape{.k = k_, .aux_k = loss_.aux_k(), .rounds = {{.candidates = true}}};
    for (const Round& round : loss_.rounds()) shape.rounds.push_back(round);
    return shape;
  }

  void prepare(const Step& step) const override { loss_.prepare(step); }
  void measure(std::size_t round, const Step& step) const override {
    if (round > 0) return loss_.measure(round - 1, step);
    loss_.begin(step);
    const std::optional<AuxSelection> aux = loss_.aux_selection(step);
    step.buffers.encoder.run({.x = step.input(),
                              .included = step.batch.included,
                              .choice = {.k = k_},
                              .out = step.buffers.entries.view(),
                              .aux = aux ? &*aux : nullptr},
                             step.stream);
  }

  void weigh(const Step& step) const override { loss_.weigh(step); }
  void gradients(const Step& step, const GradientRows& rows, std::size_t first,
                 TensorView<float> out) const override {
    loss_.gradients(step, rows, first, out);
  }
  void finish(const Step& step) const override { loss_.finish(step); }

  void encode(const SaeParameters& parameters, TensorView<const float> x, std::size_t,
              SparseActs& acts) const override {
    encode_rows(parameters, loss_.centred(), x, {.k = k_}, acts);
  }

  [[nodiscard]] SaeExport export_for_saelens(const SaeParameters& p,
                                             const SaeScale& scale) const override {
    SaeExport out = export_common("topk", p, scale);
    out.json_values = {{"k", std::to_string(k_)}, {"rescale_acts_by_decoder_norm", "false"}};
    return out;
  }

 private:
  std::size_t k_;
  Reconstruction loss_;
};

}  // namespace

std::unique_ptr<Variant> make_topk(const SaeConfig& config, std::size_t d_in,
                                   std::uint64_t dead_after_rows) {
  return std::make_unique<TopK>(config, d_in, dead_after_rows);
}

}  // namespace refract
