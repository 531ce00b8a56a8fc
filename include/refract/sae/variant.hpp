#pragma once
// The seam between what an SAE variant computes and who sums it over ranks.
//
// One optimisation step, as stages/train runs it (DESIGN section 3):
//
//   for round in 0 .. measure_rounds()-1:
//     variant.measure(round)  ->  Stats of this rank's rows
//     [stage] Stats are added over ranks -> GlobalStats (integers exactly; fp64 slice sums in
//             slice order)
//   variant.gradients()       ->  RowGradients of this rank's rows: sparse terms, one or more
//   [stage] weight gradients (weight_gradients.hpp): the owner of each panel of 64 features adds
//           all rows in row order, or each rank adds its own and the sums are all-reduced;
//           squared norm, finite flag, clip
//   adam_update (optimizer.hpp) on feature rows, then on b_dec
//   variant.finish()          ->  replicated bookkeeping: ages, thresholds; the step's log values
//   [stage] SaeState::step, and trained_rows in a first pass
//
// tests/support/one_rank_step.hpp is this sequence for one rank.
//
// Shapes: D = d_in, F = d_sae, n = rows of this rank, N = rows of the global batch, E = entries of
// a term.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "refract/sae/config.hpp"
#include "refract/sae/state.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

// This rank's rows of one global batch, already multiplied by the calibrated input scale.
struct Batch {
  TensorView<const float> x;               // [n, D]
  std::span<const std::uint8_t> included;  // [n]; 0 = excluded row: takes part in nothing
  std::size_t first_row = 0;   // index of row 0 in the global batch (panel alignment, row order)
  std::size_t rows = 0;        // N
  std::size_t slice_rows = 0;  // a slice never straddles ranks: n, first_row are multiples of it
  bool first_pass = true;      // ages grow in the first pass over a row only (SPEC 2)
};

// What a variant needs to know of the global batch.
struct Stats {
  std::vector<std::uint64_t> counts;  // integers: added over ranks
  std::vector<double>
      slice_sums;  // [local slices, width]: gathered in slice order, added in that order
  std::size_t width = 0;
};
struct GlobalStats {
  std::vector<std::uint64_t> counts;
  std::vector<double> sums;  // [width]
};

// Adds one rank's slices to `global` in slice order; calling it for each rank in rank order gives
// the global sums.
void add_stats(const Stats& stats, GlobalStats& global);

// Feature activations of n rows in compressed rows: entries row_starts[i] .. row_starts[i+1] belong
// to row i, features ascending.
struct SparseActs {
  std::vector<std::uint64_t> row_starts;  // [n + 1]
  std::vector<std::uint32_t> features;    // [E]
  std::vector<float> values;              // [E]
};

// One decoded reconstruction's part of the loss. Entry j of row i, feature f:
//   dW_dec[f] += acts.values[j] * v[i];  dW_enc[f] += pre_grads[j] * (x[i] - b_dec);  db_enc[f] +=
//   pre_grads[j] dthreshold[f] += threshold_grads[j]
// where v = dLoss/d(reconstruction) and pre_grads = dLoss/d(pre-activation).
struct GradientTerm {
  Tensor<float> v;                     // [n, D]; zero in excluded rows
  SparseActs acts;                     // decoder coefficients
  std::vector<float> pre_grads;        // [E]
  std::vector<float> threshold_grads;  // [E], or empty
};
struct RowGradients {
  std::vector<GradientTerm> terms;
};

// Buffers a step keeps from measure to gradients; owned by the stage, shaped by the variant,
// reused.
class StepScratch {
 public:
  virtual ~StepScratch() = default;
};

// Results of every method depend on a row's place in the global batch and on its values, never on
// the number of threads or on which rows share its rank.
class Variant {
 public:
  virtual ~Variant() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;
  // SaeParameters::threshold exists: trained through threshold_grads, or set by finish().
  [[nodiscard]] virtual bool has_threshold() const { return false; }
  [[nodiscard]] virtual std::unique_ptr<StepScratch> make_scratch() const = 0;
  [[nodiscard]] virtual int measure_rounds() const { return 1; }
  // `so_far` holds the global statistics of the rounds before (empty in round 0).
  virtual void measure(int round, const SaeState& state, const Batch& batch,
                       const std::vector<GlobalStats>& so_far, StepScratch& scratch,
                       Stats& stats) const = 0;
  virtual void gradients(const SaeState& state, const Batch& batch,
                         const std::vector<GlobalStats>& global, StepScratch& scratch,
                         RowGradients& out) const = 0;
  // The decoder's part of dLoss/d(b_dec), the sum of v over all rows of every reconstruction that
  // adds b_dec (AuxK does not), from the global statistics alone: the same on every rank. out [D],
  // overwritten.
  virtual void decoder_bias_gradient(const std::vector<GlobalStats>& global,
                                     std::span<double> out) const = 0;
  // After the update, replicated on every rank: dead ages, thresholds; fills the step's log values.
  virtual void finish(SaeState& state, const Batch& batch, const std::vector<GlobalStats>& global,
                      StepLog& log) const = 0;
  // Inference, as the exported SAE computes it: acts of scaled rows x [n, D]. first_row aligns
  // panels.
  virtual void encode(const SaeParameters& parameters, TensorView<const float> x,
                      std::size_t first_row, SparseActs& acts) const = 0;
  [[nodiscard]] virtual bool has_training_mode() const { return false; }
  // Training-mode activations of x [n, D] (BatchTopK: selected within these rows); the same as
  // encode where training has no mode of its own. A row with included[i] 0 takes no part in a
  // selection; where there is one, it has no activations.
  virtual void encode_training(const SaeParameters& parameters, TensorView<const float> x,
                               std::span<const std::uint8_t> /*included*/, std::size_t first_row,
                               SparseActs& acts) const {
    encode(parameters, x, first_row, acts);
  }
  // The folder SAELens loads: architecture name, extra cfg.json keys, tensors for raw (unscaled)
  // input, which give the same activations as encode does divided by input_scale. Borrows from
  // `parameters`.
  [[nodiscard]] virtual SaeExport export_for_saelens(const SaeParameters& parameters,
                                                     float input_scale) const = 0;
};

// x_hat [n, D] = acts W_dec + b_dec, entries added in feature order.
void decode(const SaeParameters& parameters, const SparseActs& acts, TensorView<float> x_hat);
// The same with another b_dec [D].
void decode(const SaeParameters& parameters, std::span<const float> b_dec, const SparseActs& acts,
            TensorView<float> x_hat);

// `dead_after_rows`: a feature is dead when its age reaches it (SPEC 2). Throws ConfigError for an
// unknown variant, listing the known ones.
[[nodiscard]] std::unique_ptr<Variant> make_variant(const SaeConfig& config, std::size_t d_in,
                                                    std::uint64_t dead_after_rows);
[[nodiscard]] std::vector<std::string_view> variant_names();

}  // namespace refract
