// TopK with AuxK (Gao et al. 2024, Scaling and evaluating sparse autoencoders; SPEC 6).
//
//   f = ReLU(TopK(pre)), pre = (x - b_dec) W_enc^T + b_enc;  x_hat = f W_dec + b_dec;  e = x - x_hat
//   loss = mean over rows |e|^2 + c * mean over rows |e_hat - sg(e)|^2 / mean over rows |e - mean e|^2
//
// e_hat decodes, without b_dec and without ReLU, the k_aux largest pre-activations of dead features.
#include <algorithm>
#include <cmath>
#include <limits>

#include "refract/base/error.hpp"
#include "refract/sae/topk_encoder.hpp"
#include "sae/panel_encoder.hpp"
#include "sae/row_entries.hpp"
#include "sae/variant_table.hpp"

namespace refract {
namespace {

// Layout of Stats. counts: [F] firings, then the included rows. Slice sums: the columns below, then e [D].
enum Column : std::size_t { kSquaredError, kActive, kAuxSquaredError, kErrorSum };

struct TopKScratch final : StepScratch {
  PanelEncoder encoder;
  RowEntries main, aux;
  std::vector<std::uint32_t> dead;
  Tensor<float> error;      // [n, D]  e
  Tensor<float> aux_error;  // [n, D]  e_hat - e
};

void shape_like(Tensor<float>& tensor, std::size_t rows, std::size_t d_in) {
  if (tensor.shape() != Shape{rows, d_in}) tensor = Tensor<float>(Shape{rows, d_in});
}

class TopK final : public Variant {
 public:
  TopK(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows)
      : d_in_(d_in), d_sae_(config.d_sae), k_(config.k),
        aux_k_(config.aux.k != 0 ? config.aux.k : d_in / 2), aux_coefficient_(config.aux.coefficient),
        dead_after_rows_(dead_after_rows) {
    check(config, "SAE " + config.name);
  }

  [[nodiscard]] std::string_view name() const override { return "topk"; }
  [[nodiscard]] std::unique_ptr<StepScratch> make_scratch() const override { return std::make_unique<TopKScratch>(); }

  void measure(int, const SaeState& state, const Batch& batch, const std::vector<GlobalStats>&, StepScratch& scratch,
               Stats& stats) const override {
    auto& own = static_cast<TopKScratch&>(scratch);
    const std::size_t n = batch.x.axis(0);
    expect_shape(batch.x, "x", {{"n", n}, {"D", d_in_}});
    const SaeParameters& p = state.parameters;
    find_dead(state, own.dead);
    own.main.reset(n, k_);
    own.aux.reset(n, std::min(aux_k_, own.dead.size()));
    shape_like(own.error, n, d_in_);
    if (own.aux.capacity != 0) shape_like(own.aux_error, n, d_in_);
    own.encoder.pack(p);
    own.encoder.run(p, batch.x, batch.included, [&](std::size_t row, std::span<const float> pre, PanelMemory& memory) {
      forward_row(p, batch.x.row(row), row, pre, memory, own);
      if (own.aux.capacity != 0) forward_aux_row(p, row, pre, memory, own);
    });
    collect(batch, own, stats);
  }

  void gradients(const SaeState&, const Batch& batch, const std::vector<GlobalStats>& global, StepScratch& scratch,
                 RowGradients& out) const override {
    auto& own = static_cast<TopKScratch&>(scratch);
    const Means means = means_of(global.at(0));
    // Without an included row every factor is zero, and so is the step.
    const double per_row = means.rows > 0 ? 1 / means.rows : 0;
    out.terms.resize(own.aux.capacity != 0 ? 2 : 1);
    fill_term(batch, own.main, own.error, static_cast<float>(-2 * per_row), out.terms[0]);
    if (own.aux.capacity != 0)
      fill_term(batch, own.aux, own.aux_error, static_cast<float>(2 * per_row * aux_weight(means)), out.terms[1]);
  }

  void decoder_bias_gradient(const std::vector<GlobalStats>& global, std::span<double> out) const override {
    const GlobalStats& stats = global.at(0);
    const auto rows = static_cast<double>(stats.counts[d_sae_]);
    for (std::size_t d = 0; d < d_in_; ++d) out[d] = rows > 0 ? -2 * stats.sums[kErrorSum + d] / rows : 0;
  }

  void finish(SaeState& state, const Batch& batch, const std::vector<GlobalStats>& global,
              StepLog& log) const override {
    const GlobalStats& stats = global.at(0);
    const std::uint64_t included = stats.counts[d_sae_];
    for (std::size_t f = 0; f < d_sae_; ++f) {
      if (batch.first_pass) state.age[f] += included;
      if (stats.counts[f] != 0) state.age[f] = 0;
    }
    const Means means = means_of(stats);
    log.included_rows = included;
    log.mse = means.squared_error;
    log.aux_loss = means.aux_squared_error * aux_weight(means);
    log.loss = log.mse + log.aux_loss;
    log.l0 = means.active;
    log.dead = static_cast<std::uint64_t>(
        std::count_if(state.age.begin(), state.age.end(), [&](std::uint64_t age) { return age >= dead_after_rows_; }));
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
    encoder.encode(parameters, x, {{entries.features.data(), {n, k_}}, {entries.values.data(), {n, k_}},
                                   {entries.counts.data(), {n}}}, stream);
    entries.compress(acts);
  }

  [[nodiscard]] SaeExport export_for_saelens(const SaeParameters& p, float input_scale) const override {
    SaeExport out{"topk", d_in_, d_sae_, {{"k", std::to_string(k_)}, {"rescale_acts_by_decoder_norm", "false"}}, {}};
    Tensor<float> W_enc(Shape{d_in_, d_sae_}), b_enc(Shape{d_sae_}), W_dec(Shape{d_sae_, d_in_}), b_dec(Shape{d_in_});
    for (std::size_t f = 0; f < d_sae_; ++f)
      for (std::size_t d = 0; d < d_in_; ++d) W_enc.data()[d * d_sae_ + f] = p.W_enc.data()[f * d_in_ + d];
    std::copy_n(p.W_dec.data(), d_sae_ * d_in_, W_dec.data());
    for (std::size_t f = 0; f < d_sae_; ++f) b_enc.data()[f] = p.b_enc.data()[f] / input_scale;
    for (std::size_t d = 0; d < d_in_; ++d) b_dec.data()[d] = p.b_dec.data()[d] / input_scale;
    out.tensors.push_back({"W_enc", std::move(W_enc)});
    out.tensors.push_back({"b_enc", std::move(b_enc)});
    out.tensors.push_back({"W_dec", std::move(W_dec)});
    out.tensors.push_back({"b_dec", std::move(b_dec)});
    return out;
  }

 private:
  struct Means {
    double rows = 0, squared_error = 0, active = 0, aux_squared_error = 0, residual_variance = 0;
  };

  void find_dead(const SaeState& state, std::vector<std::uint32_t>& dead) const {
    dead.clear();
    if (aux_coefficient_ == 0) return;
    for (std::size_t f = 0; f < d_sae_; ++f)
      if (state.age[f] >= dead_after_rows_) dead.push_back(static_cast<std::uint32_t>(f));
  }

  void select_row(std::span<const float> pre, std::size_t row, PanelMemory& memory, RowEntries& entries) const {
    // The floor is the ReLU: what is not positive never counts as active.
    const std::size_t count = select_top(pre, k_, 0.0F, memory.select, entries.row_features(row));
    entries.counts[row] = static_cast<std::uint32_t>(count);
    for (std::size_t j = 0; j < count; ++j) entries.row_values(row)[j] = pre[entries.row_features(row)[j]];
  }

  // Adds the row's entries times their decoder rows to `sum`, and leaves those rows in memory.rows.
  void decode_row(const SaeParameters& p, RowEntries& entries, std::size_t row, PanelMemory& memory,
                  float* sum) const {
    memory.rows.resize(entries.counts[row]);
    for (std::size_t j = 0; j < memory.rows.size(); ++j)
      memory.rows[j] = p.W_dec.data() + entries.row_features(row)[j] * d_in_;
    add_scaled_rows(memory.rows.data(), entries.row_values(row), memory.rows.size(), d_in_, sum);
  }

  void forward_row(const SaeParameters& p, std::span<const float> x, std::size_t row, std::span<const float> pre,
                   PanelMemory& memory, TopKScratch& own) const {
    select_row(pre, row, memory, own.main);
    float* error = own.error.data() + row * d_in_;
    std::copy_n(p.b_dec.data(), d_in_, error);
    decode_row(p, own.main, row, memory, error);
    subtract(x.data(), error, d_in_, error);
    for (std::size_t j = 0; j < memory.rows.size(); ++j)
      own.main.row_dots(row)[j] = dot(error, memory.rows[j], d_in_);
  }

  void forward_aux_row(const SaeParameters& p, std::size_t row, std::span<const float> pre, PanelMemory& memory,
                       TopKScratch& own) const {
    memory.dead_pre.resize(own.dead.size());
    for (std::size_t i = 0; i < own.dead.size(); ++i) memory.dead_pre[i] = pre[own.dead[i]];
    std::uint32_t* features = own.aux.row_features(row);
    const std::size_t count = select_top(memory.dead_pre, own.aux.capacity, -std::numeric_limits<float>::infinity(),
                                         memory.select, features);
    own.aux.counts[row] = static_cast<std::uint32_t>(count);
    for (std::size_t j = 0; j < count; ++j) {
      own.aux.row_values(row)[j] = memory.dead_pre[features[j]];
      features[j] = own.dead[features[j]];
    }
    float* error = own.aux_error.data() + row * d_in_;
    std::fill_n(error, d_in_, 0.0F);
    decode_row(p, own.aux, row, memory, error);
    subtract(error, own.error.data() + row * d_in_, d_in_, error);
    for (std::size_t j = 0; j < count; ++j) own.aux.row_dots(row)[j] = dot(error, memory.rows[j], d_in_);
  }

  void collect(const Batch& batch, const TopKScratch& own, Stats& stats) const {
    const std::size_t n = batch.x.axis(0), slices = n / batch.slice_rows;
    REFRACT_ASSERT(slices * batch.slice_rows == n, "n {} slice_rows {}", n, batch.slice_rows);
    stats.width = kErrorSum + d_in_;
    stats.counts.assign(d_sae_ + 1, 0);
    stats.slice_sums.assign(slices * stats.width, 0.0);
    for (std::size_t row = 0; row < n; ++row) {
      if (batch.included[row] == 0) continue;
      ++stats.counts[d_sae_];
      for (std::size_t j = 0; j < own.main.counts[row]; ++j)
        ++stats.counts[own.main.features[row * own.main.capacity + j]];
    }
    parallel_for(slices, [&](std::size_t slice) {
      double* sums = stats.slice_sums.data() + slice * stats.width;
      for (std::size_t row = slice * batch.slice_rows; row < (slice + 1) * batch.slice_rows; ++row) {
        if (batch.included[row] == 0) continue;
        const float* error = own.error.data() + row * d_in_;
        sums[kSquaredError] += squared_norm(error, d_in_);
        sums[kActive] += own.main.counts[row];
        if (own.aux.capacity != 0) sums[kAuxSquaredError] += squared_norm(own.aux_error.data() + row * d_in_, d_in_);
        for (std::size_t d = 0; d < d_in_; ++d) sums[kErrorSum + d] += static_cast<double>(error[d]);
      }
    });
  }

  [[nodiscard]] Means means_of(const GlobalStats& stats) const {
    Means means;
    means.rows = static_cast<double>(stats.counts[d_sae_]);
    if (means.rows == 0) return means;
    means.squared_error = stats.sums[kSquaredError] / means.rows;
    means.active = stats.sums[kActive] / means.rows;
    means.aux_squared_error = stats.sums[kAuxSquaredError] / means.rows;
    means.residual_variance = means.squared_error;
    for (std::size_t d = 0; d < d_in_; ++d) {
      const double mean = stats.sums[kErrorSum + d] / means.rows;
      means.residual_variance -= mean * mean;
    }
    return means;
  }

  // The factor of mean |e_hat - e|^2 in the loss; no residual variance, no auxiliary loss (SPEC 6).
  [[nodiscard]] double aux_weight(const Means& means) const {
    return means.residual_variance > 0 ? aux_coefficient_ / means.residual_variance : 0;
  }

  void fill_term(const Batch& batch, const RowEntries& entries, const Tensor<float>& error, float factor,
                 GradientTerm& term) const {
    const std::size_t n = batch.x.axis(0);
    shape_like(term.v, n, d_in_);
    parallel_for((n + kPanelRows - 1) / kPanelRows, [&](std::size_t panel) {
      for (std::size_t row = panel * kPanelRows; row < std::min(n, (panel + 1) * kPanelRows); ++row) {
        float* v = term.v.data() + row * d_in_;
        if (batch.included[row] != 0) scale(error.data() + row * d_in_, factor, d_in_, v);
        else std::fill_n(v, d_in_, 0.0F);
      }
    });
    entries.compress(term.acts);
    entries.compress_gradients(factor, term.pre_grads);
    term.threshold_grads.clear();
  }

  std::size_t d_in_, d_sae_, k_, aux_k_;
  double aux_coefficient_;
  std::uint64_t dead_after_rows_;
};

}  // namespace

std::unique_ptr<Variant> make_topk(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows) {
  return std::make_unique<TopK>(config, d_in, dead_after_rows);
}

}  // namespace refract
