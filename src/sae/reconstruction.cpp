#include "sae/reconstruction.hpp"

#include <limits>

namespace refract {
namespace {

void shape_like(Tensor<float>& tensor, std::size_t rows, std::size_t d_in) {
  if (tensor.shape() != Shape{rows, d_in}) tensor = Tensor<float>(Shape{rows, d_in});
}

// Adds the entries times their decoder rows to `sum`, and leaves those rows in memory.rows.
void add_decoded(const SaeParameters& p, const RowView& entries, PanelMemory& memory, float* sum) {
  const std::size_t d_in = p.d_in();
  memory.rows.resize(entries.count);
  for (std::size_t j = 0; j < entries.count; ++j)
    memory.rows[j] = p.W_dec.data() + entries.features[j] * d_in;
  add_scaled_rows(memory.rows.data(), entries.values, entries.count, d_in, sum);
}

}  // namespace

Reconstruction::Reconstruction(std::size_t d_in, std::size_t d_sae, const AuxConfig& aux,
                               std::uint64_t dead_after_rows)
    : d_in_(d_in),
      d_sae_(d_sae),
      aux_k_(aux.k != 0 ? aux.k : d_in / 2),
      aux_coefficient_(aux.coefficient),
      dead_after_rows_(dead_after_rows) {}

void Reconstruction::begin(const SaeState& state, std::size_t n, ReconstructionScratch& own) const {
  own.dead.clear();
  if (aux_coefficient_ != 0)
    for (std::size_t f = 0; f < d_sae_; ++f)
      if (state.age[f] >= dead_after_rows_) own.dead.push_back(static_cast<std::uint32_t>(f));
  own.aux.reset(n, std::min(aux_k_, own.dead.size()));
  shape_like(own.error, n, d_in_);
  if (own.aux.capacity != 0) shape_like(own.aux_error, n, d_in_);
}

void Reconstruction::select_aux(std::span<const float> pre, std::size_t row, PanelMemory& memory,
                                ReconstructionScratch& own) const {
  if (own.aux.capacity == 0) return;
  memory.dead_pre.resize(own.dead.size());
  for (std::size_t i = 0; i < own.dead.size(); ++i) memory.dead_pre[i] = pre[own.dead[i]];
  std::uint32_t* features = own.aux.row_features(row);
  const std::size_t count =
      select_top(memory.dead_pre, own.aux.capacity, -std::numeric_limits<float>::infinity(),
                 memory.select, features);
  own.aux.counts[row] = static_cast<std::uint32_t>(count);
  for (std::size_t j = 0; j < count; ++j) {
    own.aux.row_values(row)[j] = memory.dead_pre[features[j]];
    features[j] = own.dead[features[j]];
  }
}

void Reconstruction::decode_row(const SaeParameters& p, std::span<const float> x, std::size_t row,
                                const RowView& entries, PanelMemory& memory,
                                ReconstructionScratch& own) const {
  float* error = own.error.data() + row * d_in_;
  std::copy_n(p.b_dec.data(), d_in_, error);
  add_decoded(p, entries, memory, error);
  subtract(x.data(), error, d_in_, error);
  for (std::size_t j = 0; j < entries.count; ++j)
    entries.dots[j] = dot(error, memory.rows[j], d_in_);
}

void Reconstruction::decode_aux(const SaeParameters& p, std::size_t row, PanelMemory& memory,
                                ReconstructionScratch& own) const {
  if (own.aux.capacity == 0) return;
  const RowView entries = own.aux.row(row);
  float* error = own.aux_error.data() + row * d_in_;
  std::fill_n(error, d_in_, 0.0F);
  add_decoded(p, entries, memory, error);
  subtract(error, own.error.data() + row * d_in_, d_in_, error);
  for (std::size_t j = 0; j < entries.count; ++j)
    entries.dots[j] = dot(error, memory.rows[j], d_in_);
}

Reconstruction::Means Reconstruction::means_of(const GlobalStats& stats) const {
  Means means;
  means.rows = static_cast<double>(stats.counts[d_sae_]);
  if (means.rows == 0) return means;
  means.squared_error = stats.sums[kSquaredError] / means.rows;
  means.active = stats.sums[kActive] / means.rows;
  means.activation = stats.sums[kActivation] / means.rows;
  means.aux_squared_error = stats.sums[kAuxSquaredError] / means.rows;
  means.residual_variance = means.squared_error;
  for (std::size_t d = 0; d < d_in_; ++d) {
    const double mean = stats.sums[kErrorSum + d] / means.rows;
    means.residual_variance -= mean * mean;
  }
  return means;
}

// The factor of mean |e_hat - e|^2 in the loss; no residual variance, no auxiliary loss (SPEC 6).
double Reconstruction::aux_weight(const Means& means) const {
  return means.residual_variance > 0 ? aux_coefficient_ / means.residual_variance : 0;
}

void Reconstruction::fill_term(const Batch& batch, const Tensor<float>& error, float factor,
                               GradientTerm& term) const {
  const std::size_t n = batch.x.axis(0);
  shape_like(term.v, n, d_in_);
  parallel_for((n + kPanelRows - 1) / kPanelRows, [&](std::size_t panel) {
    for (std::size_t row = panel * kPanelRows; row < std::min(n, (panel + 1) * kPanelRows); ++row) {
      float* v = term.v.data() + row * d_in_;
      if (batch.included[row] != 0)
        scale(error.data() + row * d_in_, factor, d_in_, v);
      else
        std::fill_n(v, d_in_, 0.0F);
    }
  });
  term.threshold_grads.clear();
}

void Reconstruction::decoder_bias_gradient(const GlobalStats& stats, std::span<double> out) const {
  const auto rows = static_cast<double>(stats.counts[d_sae_]);
  for (std::size_t d = 0; d < d_in_; ++d)
    out[d] = rows > 0 ? -2 * stats.sums[kErrorSum + d] / rows : 0;
}

void Reconstruction::finish(SaeState& state, const Batch& batch, const GlobalStats& stats,
                            StepLog& log) const {
  const std::uint64_t included = stats.counts[d_sae_];
  for (std::size_t f = 0; f < d_sae_; ++f) {
    if (batch.first_pass) state.age[f] += included;
    if (stats.counts[f] != 0) state.age[f] = 0;
  }
  const Means means = means_of(stats);
  log.included_rows = included;
  log.squared_error = means.squared_error;
  log.aux_loss = means.aux_squared_error * aux_weight(means);
  log.loss = log.squared_error + log.aux_loss;
  log.l0 = means.active;
  log.dead = static_cast<std::uint64_t>(
      std::count_if(state.age.begin(), state.age.end(),
                    [&](std::uint64_t age) { return age >= dead_after_rows_; }));
}

SaeExport export_common(const std::string& architecture, const SaeParameters& p,
                        float input_scale) {
  return {.architecture = architecture,
          .d_in = p.d_in(),
          .d_sae = p.d_sae(),
          .json_values = {},
          .tensors = {{"W_enc", p.W_enc.cview(), true, 1},
                      {"b_enc", p.b_enc.cview(), false, input_scale},
                      {"W_dec", p.W_dec.cview(), false, 1},
                      {"b_dec", p.b_dec.cview(), false, input_scale}}};
}

}  // namespace refract
