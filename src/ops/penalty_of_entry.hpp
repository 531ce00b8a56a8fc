#pragma once
// An entry's penalty and slope, the same text for the CPU and for CUDA (ops/step_loss.hpp says
// how).
#include "ops/fast_exp.hpp"
#include "refract/ops/entry_penalty.hpp"

namespace refract {

// Of t >= 0; within 4e-7 of it, relatively.
constexpr float tanh_of(float t) {
  if (t < 0.04F) return t - t * t * t * (1.0F / 3);  // or the difference below has few digits
  return 1.0F - 2.0F / (fast_exp(2.0F * t) + 1.0F);
}

// Of one feature, as the loops over its entries need it.
struct FeaturePenalty {
  PenaltyKind kind = PenaltyKind::none;
  float steepness = 1;
  float norm = 1;
  float slope = 0;  // rate
};

constexpr float penalty_value(const FeaturePenalty& of, float value) {
  const float size = value < 0 ? -value : value;
  switch (of.kind) {
    case PenaltyKind::l1: return of.norm * size;
    case PenaltyKind::tanh: return tanh_of(of.steepness * (of.norm * size));
    default: return 0;
  }
}

// d phi / d (n |v|), and for `rate` d penalty / d |v| times the rows.
constexpr float penalty_slope(const FeaturePenalty& of, float value) {
  const float size = value < 0 ? -value : value;
  if (of.kind == PenaltyKind::l1) return 1;
  if (of.kind == PenaltyKind::none) return 0;
  const float bent = tanh_of(of.steepness * (of.norm * size));
  const float slope = of.steepness * (1.0F - bent * bent);
  return of.kind == PenaltyKind::rate ? of.slope * slope : slope;
}

constexpr std::uint64_t rate_in_units(float steepness, float value) {
  const float size = value < 0 ? -value : value;
  return static_cast<std::uint64_t>(kRateUnit * static_cast<double>(tanh_of(steepness * size)));
}

inline constexpr double kLeastRate = 1e-6;

struct RatePenalty {
  double value, slope;
};
template <typename Log>  // ln in fp64
constexpr RatePenalty rate_penalty(double rate, double target, Log&& ln) {
  const bool low = rate<kLeastRate, high = rate> 1 - kLeastRate;
  const double r = low ? kLeastRate : high ? 1 - kLeastRate : rate;
  return {target * ln(target / r) + (1 - target) * ln((1 - target) / (1 - r)),
          low || high ? 0 : (1 - target) / (1 - r) - target / r};
}

}  // namespace refract
