#pragma once
// The scalar part of a step, the same text for the CPU and, in one thread, for CUDA: what is
// constexpr may be called from either (nvcc: --expt-relaxed-constexpr).
#include "refract/ops/step_sums.hpp"

namespace refract {

constexpr void loss_scalars_of(const double* sums, std::size_t d_out, std::uint64_t included,
                               const LossTerms& terms, double* scalars) {
  const auto rows = static_cast<double>(included);
  const double per_row = included != 0 ? 1 / rows : 0;
  const double squared_error = sums[kSquaredError] * per_row;
  double variance = squared_error;  // of the error about its mean
  for (std::size_t d = 0; d < d_out; ++d) {
    const double mean = sums[kErrorSum + d] * per_row;
    variance -= mean * mean;
  }
  // No residual variance, no auxiliary loss (SPEC 6).
  const double aux = !terms.aux_is_relative ? terms.aux_coefficient
                     : variance > 0         ? terms.aux_coefficient / variance
                                            : 0;
  const double l0 = sums[kActive] * per_row;
  const double off = terms.count_target > 0 ? l0 / terms.count_target - 1 : 0;
  const double of_count = terms.count_target > 0 ? terms.count * off * off : terms.count * l0;
  scalars[kRows] = rows;
  scalars[kMeanSquaredError] = squared_error;
  scalars[kPenalty] = (aux * sums[kAuxSquaredError] + sums[kPrefixSquaredError] +
                       terms.penalty * sums[kPenaltySum]) *
                          per_row +
                      (included != 0 ? of_count : 0);
  scalars[kLoss] = squared_error + scalars[kPenalty];
  scalars[kL0] = l0;
  scalars[kErrorFactor] = -2 * per_row;
  scalars[kAuxFactor] = -2 * per_row * aux;
  scalars[kPerEntry] = terms.penalty * per_row;
  scalars[kPerCount] =
      (terms.count_target > 0 ? terms.count * 2 * off / terms.count_target : terms.count) * per_row;
}

// Adam squares a gradient in fp32; from here on the square is infinite, and a weight whose second
// moment is infinite would never move again.
inline constexpr double kLargestGradient = 1.8e19;

constexpr void clip_scalars_of(double norm, double clip, double* scalars) {
  const double scale = clip > 0 && norm > clip ? clip / norm : 1.0;
  const bool finite = norm * scale < kLargestGradient;  // not of NaN either
  scalars[kNorm] = norm;
  scalars[kScale] = finite ? scale : 0;
  scalars[kFinite] = finite ? 1 : 0;
  scalars[kLargestInput] = scalars[kLargestWeight] = 0;
}

}  // namespace refract
