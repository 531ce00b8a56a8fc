#pragma once
// Weight gradients of a range of features from the entries of a batch.
//
// Order of additions: per feature the terms in their order, within a term the rows in row order.
// So the bytes of a feature's gradient depend on the rows given, not on threads nor on which other
// features are asked for. With the global batch's rows, the owner of a panel gets the same bytes
// for any number of ranks.
//
//   slope_j      = factor * (error[row_j] . W_dec[f]) + per_entry * d penalty / d value_j
//   dW_dec[f]    = sum over terms sum_j (factor * value_j) * error[row_j], and of a penalty that is
//                  weighed by n = |W_dec[f]|: per_entry * sum_j |value_j| phi' * W_dec[f] / n
// and what the slope of a value moves (Through):
//   pre        the value is pre:              dW_enc[f] += slope_j input[row_j];  db_enc += slope_j
//   threshold  it jumps where pre passes the threshold (Rajamanoharan et al. 2024 b; the value is
//              pre in a window of width `bandwidth`):
//                                  dthreshold += -(threshold slope_j + per_count) / bandwidth
//   gain       it is exp(r_mag) (pre - b_enc) + b_mag (Rajamanoharan et al. 2024 a):
//              db_mag += slope_j;  dr_mag += slope_j (value_j - b_mag);
//              dW_enc[f] += exp(r_mag) slope_j input[row_j]
#include <array>
#include <cstdint>
#include <span>

#include "refract/ops/entries.hpp"
#include "refract/ops/entry_penalty.hpp"

namespace refract {

inline constexpr std::size_t kPanelFeatures = 64;
[[nodiscard]] constexpr std::size_t panels_of(std::size_t features) {  // the last may have fewer
  return (features + kPanelFeatures - 1) / kPanelFeatures;
}

// Numbers that a feature has beside b_enc and that are trained: a threshold, or b_mag and r_mag.
inline constexpr std::size_t kFurther = 2;

// One feature's gradient as one row: dW_enc [D_in], dW_dec [D_out], db_enc, those of the further
// numbers, then zeros up to a multiple of 16. So an exchange of gradients is one call.
struct GradientRow {
  std::size_t d_in = 0, d_out = 0;
  [[nodiscard]] constexpr std::size_t decoder() const { return d_in; }
  [[nodiscard]] constexpr std::size_t bias() const { return d_in + d_out; }
  [[nodiscard]] constexpr std::size_t further(std::size_t i) const { return bias() + 1 + i; }
  [[nodiscard]] constexpr std::size_t size() const {
    return (d_in + d_out + 1 + kFurther + 15) / 16 * 16;
  }
};

// Which weights of a decoder row are allowed. Free rows keep their length.
struct DecoderRule {
  bool non_negative = false;
  bool free_norm = false;
  friend bool operator==(const DecoderRule&, const DecoderRule&) = default;
};

enum class Through : std::uint8_t { pre, threshold, gain };

struct GradientTerm {
  FeatureEntries entries;
  TensorView<const float> error;         // [n, D_out]
  TensorView<const double> factor;       // [1]
  TensorView<const double> per_entry{};  // [1], or empty: no penalty
  EntryPenalty penalty{};
  Through through = Through::pre;
  bool moves_decoder = true;  // false: it is a constant of the error
  // threshold: further = threshold [F]; gain: further = b_mag, r_mag [F]
  std::array<TensorView<const float>, kFurther> further{};
  TensorView<const double> per_count{};  // [1]: threshold
  float bandwidth = 1;
};

struct GradientSource {
  TensorView<const float> input;  // [n, D_in]
  std::span<const GradientTerm> terms;
  TensorView<const float> W_dec;  // [F, D_out] of the tile
};

// Features [first, first + count) of the tile; gradients [count, GradientRow::size()], overwritten.
void feature_gradients(const GradientSource& source, std::size_t first, TensorView<float> gradients,
                       Stream& stream);

// After all additions. dW_dec becomes orthogonal to its unit row (unless rows are free) and, with a
// non-negative decoder, zero where a bound holds the entry; each panel of 64 features gives its
// squared norm and, where b_dec is subtracted from the input, its part of db_dec:
// - sum (d loss / d pre)[f] W_enc[f], which but for a gated encoder is db_enc.
struct FinishGradients {
  TensorView<const float> W_enc, W_dec;  // [count, D_in], [count, D_out]: rows of the gradients
  DecoderRule decoder{};
  bool input_is_centred = true;
  TensorView<const float> r_mag{};  // [count] of a gated encoder: db_enc + exp(r_mag) db_mag
};
// panels [ceil(count / 64), 1 + D_in (1 where the input is not centred)] f64
void finish_gradients(const FinishGradients& how, TensorView<float> gradients,
                      TensorView<double> panels, Stream& stream);

// db_dec [D_out] = scalars[kErrorFactor] * errors + the panels' parts in panel order; errors
// [D_out]: the sum over rows of what b_dec is subtracted from;
// scalars: kNorm of all gradients (panels in order, then db_dec), kScale = clip / norm where that
// is larger than clip > 0, kFinite (ops/step_sums.hpp).
void bias_gradient(TensorView<const double> errors, TensorView<const double> panels, double clip,
                   TensorView<double> db_dec, TensorView<double> scalars, Stream& stream);

// Where kFinite is 0: kLargestInput = max |x|, kLargestWeight = max |weights|; else nothing.
// Infinity for a value that is not finite.
void explain_overflow(TensorView<const float> x, TensorView<const float> W_enc,
                      TensorView<const float> b_enc, TensorView<const float> b_dec,
                      TensorView<double> scalars, Stream& stream);

}  // namespace refract
