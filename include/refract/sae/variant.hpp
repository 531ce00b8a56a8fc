#pragma once
// The seam between what an SAE variant computes and who sums it over ranks. A variant holds no loop
// over rows or features and reads no value: it names what it needs (shape) and enqueues ops.
//
// One optimisation step, as stages/train runs it (DESIGN section 3):
//
//   for each of shape().rounds:
//     variant.measure(round)        ->  StepBuffers
//     [stage] what the round says is summed over ranks: integers exactly, fp64 sums in slice order
//   variant.weigh()                 ->  the scalars of the loss
//   variant.gradients(a range)      ->  weight gradients of a range of features, from the tile's
//                                       rows, or from all rows
//   [stage] their sum; finish_gradients on the panels of 64 features, squared norm, finite flag,
//           clip (ops/feature_gradients.hpp)
//   adam (ops/adam.hpp) on feature rows, then on b_dec
//   variant.finish()                ->  replicated bookkeeping: ages, thresholds
//   [stage] SaeState::step; a step later the log, and trained_rows in a first pass
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "refract/sae/config.hpp"
#include "refract/sae/export.hpp"
#include "refract/sae/state.hpp"
#include "refract/sae/step.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

// Feature activations of n rows in compressed rows: entries row_starts[i] .. row_starts[i+1] belong
// to row i, features ascending.
struct SparseActs {
  std::vector<std::uint64_t> row_starts;  // [n + 1]
  std::vector<std::uint32_t> features;    // [E]
  std::vector<float> values;              // [E]
};

// The entries of rows, in row order; on the CPU.
void compress(const RowEntries& entries, SparseActs& acts);

// Results of every method depend on a row's place in the global batch and on its values, never on
// the number of threads or on which rows share its rank.
class Variant {
 public:
  virtual ~Variant() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;
  // SaeParameters::threshold exists: trained through its gradients (trains_threshold), or set by
  // finish().
  [[nodiscard]] virtual bool has_threshold() const { return false; }
  // SaeParameters::b_mag, r_mag exist.
  [[nodiscard]] virtual bool is_gated() const { return false; }
  // What of new parameters is the variant's own to begin with.
  virtual void initialise(SaeParameters& /*fresh*/) const {}
  [[nodiscard]] virtual StepShape shape() const = 0;
  // Once, when the buffers were made: what they carry from step to step follows from the state.
  virtual void prepare(const Step& step) const = 0;
  // The rounds in order. Reads batch, parameters, ages' dead list; writes buffers.
  virtual void measure(std::size_t round, const Step& step) const = 0;
  // From the sums of the whole batch: StepBuffers::scalars.
  virtual void weigh(const Step& step) const = 0;
  // Features [first, first + count) of the tile; `rows` are sorted in StepBuffers::by_feature.
  virtual void gradients(const Step& step, const GradientRows& rows, std::size_t first,
                         TensorView<float> out /* [count, GradientRow] */) const = 0;
  // After the update: dead ages and their list, thresholds.
  virtual void finish(const Step& step) const = 0;
  // Inference, as the exported SAE computes it: acts of normalised rows x [n, D]. first_row aligns
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
  // The folder SAELens loads: architecture name, extra cfg.json keys, tensors with their roles, as
  // learned of normalised rows (fold() makes them ones of raw rows). Borrows from `parameters`.
  [[nodiscard]] virtual SaeExport export_for_saelens(const SaeParameters& parameters) const = 0;
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
// An SAE subtracts b_dec from what it reads; a transcoder, whose target is another hook, does not.
[[nodiscard]] bool input_is_centred(const SaeConfig& config);
// Its thresholds are trained through their gradients, which an l0 penalty moves.
[[nodiscard]] bool trains_threshold(const SaeConfig& config);
[[nodiscard]] std::vector<std::string_view> variant_names();
[[nodiscard]] std::vector<std::string_view> penalty_names();
// penalty.kind, or what auto stands for.
[[nodiscard]] std::string_view penalty_kind(const SaeConfig& config);
// Those that train and export transcoders.
[[nodiscard]] std::vector<std::string_view> transcoder_variant_names();

}  // namespace refract
