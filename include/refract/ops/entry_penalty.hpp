#pragma once
// What asks activations to be few or small: a function of each entry's value v, or of how often a
// feature fires. With n the norm of the feature's decoder row where norms are given, else 1:
//
//   l1    phi = n |v|                (Bricken et al. 2023; weighted by norms: Conerly et al. 2024)
//   tanh  phi = tanh(s n |v|)        (Rajamanoharan et al. 2024 b; Conerly et al. 2025)
//   rate  r_f = mean over included rows of tanh(s |v|), the soft firing rate of a feature;
//         rho ln(rho / r) + (1 - rho) ln((1 - rho) / (1 - r)), summed over features (Ng 2011, whose
//         units are sigmoids and need no soft rate)
//
// What counts entries (L0) has no slope here: it moves thresholds (feature_gradients.hpp).
#include <cstdint>

#include "refract/ops/entries.hpp"

namespace refract {

enum class PenaltyKind : std::uint8_t { none, l1, tanh, rate };

struct EntryPenalty {
  PenaltyKind kind = PenaltyKind::none;
  float steepness = 1;               // s
  TensorView<const float> norms{};   // [F], or empty: 1
  TensorView<const float> slopes{};  // [F] of `rate`: d penalty / d r_f
};

// norms[f] = |W[f]|; W [F, D]
void row_norms(TensorView<const float> W, TensorView<float> norms, Stream& stream);

// A firing rate in integers, so that sums over rows and ranks are exact in any order.
inline constexpr double kRateUnit = 4294967296.0;  // of tanh = 1
// rates[f] = sum over entries of tanh(s |v|) in units; rates[F] = included rows.
void sum_rates(const RowEntries& entries, float steepness,
               TensorView<const std::uint8_t> included /* [n] */,
               TensorView<std::uint64_t> rates /* [F + 1] */, Stream& stream);
// From the rates of the whole batch: slopes [F], and the penalty [1] of these features times the
// included rows, as other penalties are sums over rows. r is kept within [1e-6, 1 - 1e-6], where it
// has no slope; no rows: zeros.
void rate_slopes(TensorView<const std::uint64_t> rates, double target, TensorView<float> slopes,
                 TensorView<double> penalty, Stream& stream);

}  // namespace refract
