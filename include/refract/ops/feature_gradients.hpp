#pragma once
// Weight gradients of a range of features from the entries of a batch.
//
// Order of additions: per feature the terms in their order, within a term the rows in row order.
// So the bytes of a feature's gradient depend on the rows given, not on threads nor on which other
// features are asked for. With the global batch's rows, the owner of a panel gets the same bytes
// for any number of ranks.
//
//   dot_j        = error[row_j] . W_dec[f]
//   pre_j        = factor * dot_j + per_entry
//   dW_dec[f]    = sum over terms sum_j (factor * value_j) * error[row_j]
//   dW_enc[f]    = sum over terms sum_j pre_j * input[row_j];   db_enc[f] = the sum of pre_j
#include <cstdint>
#include <span>

#include "refract/ops/entries.hpp"

namespace refract {

inline constexpr std::size_t kPanelFeatures = 64;
[[nodiscard]] constexpr std::size_t panels_of(std::size_t features) {  // the last may have fewer
  return (features + kPanelFeatures - 1) / kPanelFeatures;
}

// One feature's gradient as one row: dW_enc [D_in], dW_dec [D_out], db_enc, dthreshold, then zeros
// up to a multiple of 16. So an exchange of gradients is one call.
struct GradientRow {
  std::size_t d_in = 0, d_out = 0;
  [[nodiscard]] std::size_t decoder() const { return d_in; }
  [[nodiscard]] std::size_t bias() const { return d_in + d_out; }
  [[nodiscard]] std::size_t threshold() const { return d_in + d_out + 1; }
  [[nodiscard]] std::size_t size() const { return (d_in + d_out + 2 + 15) / 16 * 16; }
};

struct GradientTerm {
  FeatureEntries entries;
  TensorView<const float> error;       // [n, D_out]
  TensorView<const double> factor;     // [1]
  TensorView<const double> per_entry;  // [1], or empty: 0
};

struct GradientSource {
  TensorView<const float> input;  // [n, D_in]
  std::span<const GradientTerm> terms;
  TensorView<const float> W_dec;  // [F, D_out] of the tile
};

// Features [first, first + count) of the tile; gradients [count, GradientRow::size()], overwritten.
void feature_gradients(const GradientSource& source, std::size_t first, TensorView<float> gradients,
                       Stream& stream);

// After all additions. dW_dec becomes orthogonal to its unit row and, with a non-negative decoder,
// zero where a bound holds the entry; each panel of 64 features gives its squared norm and, where
// b_dec is subtracted from the input, its part of db_dec: - sum db_enc[f] W_enc[f].
struct FinishGradients {
  TensorView<const float> W_enc, W_dec;  // [count, D_in], [count, D_out]: rows of the gradients
  bool non_negative_decoder = false;
  bool input_is_centred = true;
};
// panels [ceil(count / 64), 1 + D_in (1 where the input is not centred)] f64
void finish_gradients(const FinishGradients& how, TensorView<float> gradients,
                      TensorView<double> panels, Stream& stream);

// db_dec [D_out] = scalars[kErrorFactor] * sums[kErrorSum ...] + the panels' parts in panel order;
// scalars: kNorm of all gradients (panels in order, then db_dec), kScale = clip / norm where that
// is larger than clip > 0, kFinite (ops/step_sums.hpp).
void bias_gradient(TensorView<const double> sums, TensorView<const double> panels, double clip,
                   TensorView<double> db_dec, TensorView<double> scalars, Stream& stream);

// Where kFinite is 0: kLargestInput = max |x|, kLargestWeight = max |weights|; else nothing.
// Infinity for a value that is not finite.
void explain_overflow(TensorView<const float> x, TensorView<const float> W_enc,
                      TensorView<const float> b_enc, TensorView<const float> b_dec,
                      TensorView<double> scalars, Stream& stream);

}  // namespace refract
