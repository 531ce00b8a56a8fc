#pragma once
// Sums over the rows of a batch that its loss needs, slice by slice, so that they do not depend on
// who holds which slices (SPEC 6).
#include "refract/ops/entries.hpp"

namespace refract {

// Columns of a slice's sums; behind them, from kErrorSum on, the error's own D.
enum StepSum : std::size_t { kSquaredError, kActive, kActivation, kAuxSquaredError, kErrorSum };

struct SliceSums {
  TensorView<const std::uint8_t> included;  // [n]
  RowEntries entries;
  TensorView<const float> error;             // [n, D]
  TensorView<const float> aux_error;         // [n, D], or empty
  TensorView<const std::uint64_t> any_dead;  // [1]: 0: aux_error holds nothing; empty without it
  // false: entries alone, where the rows' errors are summed by another tile of theirs
  bool errors = true;
};

// out [n / slice_rows, kErrorSum + D] f64: of each slice, rows in order, over included rows: |e|^2,
// entries, their values, |aux error|^2, e. n is a multiple of slice_rows.
void sum_slices(const SliceSums& from, std::size_t slice_rows, TensorView<double> out,
                Stream& stream);

// sums [width] = slices [S, width] added in order.
void add_slices(TensorView<const double> slices, TensorView<double> sums, Stream& stream);

// What follows from the sums of the global batch, on the device, so that nobody waits for it. The
// array is also what the host reads of a step.
enum StepScalar : std::size_t {
  kRows,              // included
  kLoss,              // squared error + penalty
  kMeanSquaredError,  // over rows, of the sum over d
  kPenalty,           // what the loss adds: AuxK, L1
  kL0,
  kErrorFactor,  // of the error in d loss / d reconstruction: -2 / rows
  kAuxFactor,    // of the auxiliary error
  kPerEntry,     // added to d loss / d pre of every entry: the L1 penalty's
  kDead,         // features, after the step
  kNorm,         // of all gradients, before clipping
  kScale,        // that gradients are multiplied by; 0 where the step is refused
  kFinite,       // 1, or 0: the gradient overflows and nothing is updated
  kLargestInput,
  kLargestWeight,  // where it overflows: whose work it was
  kStepScalars
};

//   mean |e|^2 + aux * mean |e_aux|^2 / mean |e - mean e|^2 + l1 * mean sum of activations
// (Gao et al. 2024; SPEC 6.) Without an included row every factor is 0.
struct LossTerms {
  double aux_coefficient = 0;
  double l1 = 0;
};
void loss_scalars(TensorView<const double> sums, TensorView<const std::uint64_t> rows /* [1] */,
                  const LossTerms& terms, TensorView<double> scalars /* [kStepScalars] */,
                  Stream& stream);

}  // namespace refract
