// TopK with AuxK (Gao et al. 2024, Scaling and evaluating sparse autoencoders; SPEC 6).
//
//   f = ReLU(TopK(pre)), pre = (x - b_dec) W_enc^T + b_enc;  loss: sae/reconstruction.hpp
#include "refract/base/error.hpp"
#include "refract/sae/topk_encoder.hpp"
#include "sae/reconstruction.hpp"
#include "sae/variant_table.hpp"

namespace refract {
namespace {

struct TopKScratch final : StepScratch {
  PanelEncoder encoder;
  RowEntries entries;
  ReconstructionScratch loss;
};

class TopK final : public Variant {
 public:
  TopK(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows)
      : d_in_(d_in), k_(config.k), loss_(d_in, config.d_sae, config.aux, dead_after_rows) {}

  [[nodiscard]] std::string_view name() const override { return "topk"; }
  [[nodiscard]] std::unique_ptr<StepScratch> make_scratch() const override {
    return std::make_unique<TopKScratch>();
  }

  void measure(int, const SaeState& state, const Batch& batch, const std::vector<GlobalStats>&,
               StepScratch& scratch, Stats& stats) const override {
    auto& own = static_cast<TopKScratch&>(scratch);
    const std::size_t n = batch.x.axis(0);
    expect_shape(batch.x, "x", {{"n", n}, {"D", d_in_}});
    const SaeParameters& p = state.parameters;
    own.entries.reset(n, k_);
    loss_.begin(state, n, own.loss);
    own.encoder.pack(p);
    own.encoder.run(p, batch.x, batch.included,
                    [&](std::size_t row, std::span<const float> pre, PanelMemory& memory) {
                      select_row(pre, row, memory, own.entries);
                      loss_.decode_row(p, batch.x.row(row), row, own.entries.row(row), memory,
                                       own.loss);
                      loss_.select_aux(pre, row, memory, own.loss);
                      loss_.decode_aux(p, row, memory, own.loss);
                    });
    loss_.collect(batch, own.entries, own.loss, stats);
  }

  void gradients(const SaeState&, const Batch& batch, const std::vector<GlobalStats>& global,
                 StepScratch& scratch, RowGradients& out) const override {
    auto& own = static_cast<TopKScratch&>(scratch);
    loss_.fill_terms(batch, own.entries, global.at(0), 0.0F, own.loss, out);
  }

  void decoder_bias_gradient(const std::vector<GlobalStats>& global,
                             std::span<double> out) const override {
    loss_.decoder_bias_gradient(global.at(0), out);
  }

  void finish(SaeState& state, const Batch& batch, const std::vector<GlobalStats>& global,
              StepLog& log) const override {
    loss_.finish(state, batch, global.at(0), log);
  }

  void encode(const SaeParameters& parameters, TensorView<const float> x, std::size_t,
              SparseActs& acts) const override {
    expect_shape(x, "x", {{"n", x.axis(0)}, {"D", d_in_}});
    const std::size_t n = x.axis(0);
    RowEntries entries;
    entries.reset(n, k_);
    Stream stream;
    TopkEncoder encoder;
    encoder.pack(parameters, stream);
    encoder.encode(parameters, x,
                   {{entries.features.data(), {n, k_}},
                    {entries.values.data(), {n, k_}},
                    {entries.counts.data(), {n}}},
                   stream);
    entries.compress(acts);
  }

  [[nodiscard]] SaeExport export_for_saelens(const SaeParameters& p,
                                             float input_scale) const override {
    SaeExport out = export_common("topk", p, input_scale);
    out.json_values = {{"k", std::to_string(k_)}, {"rescale_acts_by_decoder_norm", "false"}};
    return out;
  }

 private:
  void select_row(std::span<const float> pre, std::size_t row, PanelMemory& memory,
                  RowEntries& entries) const {
    // The floor is the ReLU: what is not positive never counts as active.
    const std::size_t count = select_top(pre, k_, 0.0F, memory.select, entries.row_features(row));
    entries.counts[row] = static_cast<std::uint32_t>(count);
    for (std::size_t j = 0; j < count; ++j)
      entries.row_values(row)[j] = pre[entries.row_features(row)[j]];
  }

  std::size_t d_in_, k_;
  Reconstruction loss_;
};

}  // namespace

std::unique_ptr<Variant> make_topk(const SaeConfig& config, std::size_t d_in,
                                   std::uint64_t dead_after_rows) {
  return std::make_unique<TopK>(config, d_in, dead_after_rows);
}

}  // namespace refract
