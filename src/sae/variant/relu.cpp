// ReLU with an L1 penalty, SAELens' "standard" (Bricken et al. 2023; Anthropic's April 2024 update
// without its decoder norms, which are 1 here).
//
//   f = ReLU(pre), pre = (x - b_dec) W_enc^T + b_enc
//   loss = mean over rows |x - x_hat|^2 + c(t) * mean over rows sum_f f
//
// c(t) rises linearly to l1.coefficient.
// SAELens' penalty is c * mean over rows sum_f |f| * |W_dec[f]|: the same numbers, since rows of
// W_dec have norm 1; the norm's gradient lies along the row and is projected out.
#include <cmath>

#include "refract/base/error.hpp"
#include "sae/ragged_entries.hpp"
#include "sae/reconstruction.hpp"
#include "sae/variant_table.hpp"

namespace refract {
namespace {

struct ReluScratch final : StepScratch {
  PanelEncoder encoder;
  RaggedEntries entries;
  ReconstructionScratch loss;
};

class Relu final : public Variant {
 public:
  Relu(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows)
      : d_in_(d_in),
        l1_(config.l1),
        loss_(d_in, config.d_sae, {.coefficient = 0}, dead_after_rows) {}

  [[nodiscard]] std::string_view name() const override { return "relu"; }
  [[nodiscard]] std::unique_ptr<StepScratch> make_scratch() const override {
    return std::make_unique<ReluScratch>();
  }

  void measure(int, const SaeState& state, const Batch& batch, const std::vector<GlobalStats>&,
               StepScratch& scratch, Stats& stats) const override {
    auto& own = static_cast<ReluScratch&>(scratch);
    const std::size_t n = batch.x.axis(0);
    expect_shape(batch.x, "x", {{"n", n}, {"D", d_in_}});
    own.entries.reset(n);
    loss_.begin(state, n, own.loss);
    own.encoder.pack(state.parameters);
    own.encoder.run(state.parameters, batch.x, batch.included,
                    [&](std::size_t row, std::span<const float> pre, PanelMemory& memory) {
                      append_positive(pre, row, own.entries);
                      loss_.decode_row(state.parameters, batch.x.row(row), row,
                                       own.entries.row(row), memory, own.loss);
                    });
    loss_.collect(batch, own.entries, own.loss, stats);
  }

  void gradients(const SaeState& state, const Batch& batch, const std::vector<GlobalStats>& global,
                 StepScratch& scratch, RowGradients& out) const override {
    auto& own = static_cast<ReluScratch&>(scratch);
    const double rows = loss_.means_of(global.at(0)).rows;
    const double per_entry = rows > 0 ? coefficient(state.step) / rows : 0;
    loss_.fill_terms(batch, own.entries, global.at(0), static_cast<float>(per_entry), own.loss,
                     out);
  }

  void decoder_bias_gradient(const std::vector<GlobalStats>& global,
                             std::span<double> out) const override {
    loss_.decoder_bias_gradient(global.at(0), out);
  }

  void finish(SaeState& state, const Batch& batch, const std::vector<GlobalStats>& global,
              StepLog& log) const override {
    loss_.finish(state, batch, global.at(0), log);
    const std::uint64_t of_step =
        state.step > 0 ? state.step - 1 : 0;  // the update has been counted
    log.aux_loss = coefficient(of_step) * loss_.means_of(global.at(0)).activation;
    log.loss = log.squared_error + log.aux_loss;
  }

  void encode(const SaeParameters& parameters, TensorView<const float> x, std::size_t,
              SparseActs& acts) const override {
    expect_shape(x, "x", {{"n", x.axis(0)}, {"D", d_in_}});
    PanelEncoder encoder;
    RaggedEntries entries;
    entries.reset(x.axis(0));
    encoder.pack(parameters);
    encoder.run(parameters, x, {}, [&](std::size_t row, std::span<const float> pre, PanelMemory&) {
      append_positive(pre, row, entries);
    });
    entries.compress(acts);
  }

  [[nodiscard]] SaeExport export_for_saelens(const SaeParameters& p,
                                             float input_scale) const override {
    return export_common("standard", p, input_scale);
  }

 private:
  static void append_positive(std::span<const float> pre, std::size_t row, RaggedEntries& entries) {
    for (std::size_t f = 0; f < pre.size(); ++f)
      if (pre[f] > 0) entries.append(row, static_cast<std::uint32_t>(f), pre[f]);
  }

  [[nodiscard]] double coefficient(std::uint64_t step) const {
    const auto warmup = static_cast<double>(l1_.warmup_steps), at = static_cast<double>(step + 1);
    return l1_.coefficient * (at < warmup ? at / warmup : 1);
  }

  std::size_t d_in_;
  L1Config l1_;
  Reconstruction loss_;
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
