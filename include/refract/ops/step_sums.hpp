#pragma once
// Sums over the rows of a batch that its loss needs, slice by slice, so that they do not depend on
// who holds which slices (SPEC 6).
#include <span>

#include "refract/ops/entries.hpp"
#include "refract/ops/entry_penalty.hpp"

namespace refract {

// Columns of a slice's sums; behind them, from kErrorSum on, the error's own D and, where there are
// errors of prefixes, another D: those of all of them and the error's.
enum StepSum : std::size_t {
  kSquaredError,
  kActive,      // entries
  kPenaltySum,  // of those that are penalised
  kAuxSquaredError,
  kPrefixSquaredError,
  kErrorSum
};

inline constexpr std::size_t kMostPrefixes = 15;

struct SliceSums {
  TensorView<const std::uint8_t> included;  // [n]
  RowEntries entries;
  RowEntries penalised;  // the same, or those of a gate
  EntryPenalty penalty{};
  // [1]: a penalty of the whole tile, which the first slice gets; empty: none
  TensorView<const double> whole_penalty{};
  TensorView<const float> error;               // [n, D]
  TensorView<const float> aux_error{};         // [n, D], or empty
  TensorView<const std::uint64_t> any_dead{};  // [1]: 0: aux_error holds nothing; empty without it
  std::span<const TensorView<const float>> prefix_errors{};  // [n, D] each
  // false: entries alone, where the rows' errors are summed by another tile of theirs
  bool errors = true;
};

// out [n / slice_rows, width] f64: of each slice, rows in order, over included rows: |e|^2,
// entries, their penalty, |aux error|^2, |prefix error|^2 of all prefixes, e. n is a multiple of
// slice_rows.
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
  kPenalty,           // what the loss adds: AuxK, prefixes, what asks for sparsity
  kL0,
  kErrorFactor,  // of the error in d loss / d reconstruction: -2 / rows
  kAuxFactor,    // of the auxiliary error
  kPerEntry,     // of the penalty's slope in d loss / d value of every entry
  kPerCount,     // d loss / d (number of entries), which moves thresholds
  kDead,         // features, after the step
  kNorm,         // of all gradients, before clipping
  kScale,        // that gradients are multiplied by; 0 where the step is refused
  kFinite,       // 1, or 0: the gradient overflows and nothing is updated
  kLargestInput,
  kLargestWeight,  // where it overflows: whose work it was
  kStepScalars
};

//   mean |e|^2 + sum over prefixes mean |e_prefix|^2 + aux * mean |e_aux|^2 (divided by
//   mean |e - mean e|^2, where it is AuxK's) + penalty * mean penalty of a row's entries
//   + count (L0 / target - 1)^2, or count L0 without a target
// (Gao et al. 2024; SPEC 6.) Without an included row every factor is 0.
struct LossTerms {
  double aux_coefficient = 0;
  bool aux_is_relative = true;
  double penalty = 0;
  double count = 0, count_target = 0;
};
void loss_scalars(TensorView<const double> sums, std::size_t d_out,
                  TensorView<const std::uint64_t> rows /* [1] */, const LossTerms& terms,
                  TensorView<double> scalars /* [kStepScalars] */, Stream& stream);

}  // namespace refract
