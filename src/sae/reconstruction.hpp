#pragma once
// What variants with a squared error share: the error of the decoded entries, AuxK, the sums over
// the global batch and what follows from them. A variant decides which entries a row has, and what
// else its loss holds.
//
//   x_hat = f W_dec + b_dec;  e = x - x_hat
//   mean over rows |e|^2 + c * mean over rows |e_hat - sg(e)|^2 / mean over rows |e - mean e|^2
//
// e_hat decodes, without b_dec and without ReLU, the k_aux largest pre-activations of dead features
// (Gao et al. 2024; SPEC 6).
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "sae/panel_encoder.hpp"
#include "sae/row_entries.hpp"

namespace refract {

struct ReconstructionScratch {
  RowEntries aux;
  std::vector<std::uint32_t> dead;
  Tensor<float> error;      // [n, D]  e
  Tensor<float> aux_error;  // [n, D]  e_hat - e
};

class Reconstruction {
 public:
  // Layout of Stats. counts: [F] firings, then the included rows. Slice sums: the columns below,
  // then e [D].
  enum Column : std::size_t { kSquaredError, kActive, kActivation, kAuxSquaredError, kErrorSum };
  struct Means {
    double rows = 0, squared_error = 0, active = 0, activation = 0, aux_squared_error = 0,
           residual_variance = 0;
  };

  Reconstruction(std::size_t d_in, std::size_t d_sae, const AuxConfig& aux,
                 std::uint64_t dead_after_rows);

  // Before a batch of n rows.
  void begin(const SaeState& state, std::size_t n, ReconstructionScratch& own) const;
  // A row's entries of AuxK, from all its pre-activations.
  void select_aux(std::span<const float> pre, std::size_t row, PanelMemory& memory,
                  ReconstructionScratch& own) const;
  // The row's error from its entries, and their dots; then the same of AuxK, which is the
  // residual's.
  void decode_row(const SaeParameters& p, std::span<const float> x, std::size_t row,
                  const RowView& entries, PanelMemory& memory, ReconstructionScratch& own) const;
  void decode_aux(const SaeParameters& p, std::size_t row, PanelMemory& memory,
                  ReconstructionScratch& own) const;

  template <typename Entries>
  void collect(const Batch& batch, Entries& entries, const ReconstructionScratch& own,
               Stats& stats) const;
  [[nodiscard]] Means means_of(const GlobalStats& stats) const;
  // Terms of the squared error and of AuxK; `per_entry` is added to the gradient of every entry's
  // pre-activation.
  template <typename Entries>
  void fill_terms(const Batch& batch, Entries& entries, const GlobalStats& stats, float per_entry,
                  ReconstructionScratch& own, RowGradients& out) const;
  void decoder_bias_gradient(const GlobalStats& stats, std::span<double> out) const;
  // Ages and the log; a further loss is the caller's to add.
  void finish(SaeState& state, const Batch& batch, const GlobalStats& stats, StepLog& log) const;

 private:
  void fill_term(const Batch& batch, const Tensor<float>& error, float factor,
                 GradientTerm& term) const;
  [[nodiscard]] double aux_weight(const Means& means) const;

  std::size_t d_in_, d_sae_, aux_k_;
  double aux_coefficient_;
  std::uint64_t dead_after_rows_;
};

// The four tensors every SAELens architecture here has, for raw (unscaled) input.
[[nodiscard]] SaeExport export_common(const std::string& architecture, const SaeParameters& p,
                                      float input_scale);

template <typename Entries>
void Reconstruction::collect(const Batch& batch, Entries& entries, const ReconstructionScratch& own,
                             Stats& stats) const {
  const std::size_t n = batch.x.axis(0), slices = n / batch.slice_rows;
  REFRACT_ASSERT(slices * batch.slice_rows == n, "n {} slice_rows {}", n, batch.slice_rows);
  stats.width = kErrorSum + d_in_;
  stats.counts.assign(d_sae_ + 1, 0);
  stats.slice_sums.assign(slices * stats.width, 0.0);
  for (std::size_t row = 0; row < n; ++row) {
    if (batch.included[row] == 0) continue;
    ++stats.counts[d_sae_];
    const RowView view = entries.row(row);
    for (std::size_t j = 0; j < view.count; ++j) ++stats.counts[view.features[j]];
  }
  parallel_for(slices, [&](std::size_t slice) {
    double* sums = stats.slice_sums.data() + slice * stats.width;
    for (std::size_t row = slice * batch.slice_rows; row < (slice + 1) * batch.slice_rows; ++row) {
      if (batch.included[row] == 0) continue;
      const float* error = own.error.data() + row * d_in_;
      const RowView view = entries.row(row);
      sums[kSquaredError] += squared_norm(error, d_in_);
      sums[kActive] += static_cast<double>(view.count);
      for (std::size_t j = 0; j < view.count; ++j)
        sums[kActivation] += static_cast<double>(view.values[j]);
      if (own.aux.capacity != 0)
        sums[kAuxSquaredError] += squared_norm(own.aux_error.data() + row * d_in_, d_in_);
      for (std::size_t d = 0; d < d_in_; ++d) sums[kErrorSum + d] += static_cast<double>(error[d]);
    }
  });
}

template <typename Entries>
void Reconstruction::fill_terms(const Batch& batch, Entries& entries, const GlobalStats& stats,
                                float per_entry, ReconstructionScratch& own,
                                RowGradients& out) const {
  const Means means = means_of(stats);
  // Without an included row every factor is zero, and so is the step.
  const double per_row = means.rows > 0 ? 1 / means.rows : 0;
  const auto factor = static_cast<float>(-2 * per_row),
             aux_factor = static_cast<float>(2 * per_row * aux_weight(means));
  out.terms.resize(own.aux.capacity != 0 ? 2 : 1);
  fill_term(batch, own.error, factor, out.terms[0]);
  entries.compress(out.terms[0].acts);
  entries.compress_gradients(factor, per_entry, out.terms[0].pre_grads);
  if (own.aux.capacity == 0) return;
  fill_term(batch, own.aux_error, aux_factor, out.terms[1]);
  own.aux.compress(out.terms[1].acts);
  own.aux.compress_gradients(aux_factor, 0.0F, out.terms[1].pre_grads);
}

}  // namespace refract
