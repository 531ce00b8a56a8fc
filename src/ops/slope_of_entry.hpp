#pragma once
// From d loss / d reconstruction to what an entry moves (ops/feature_gradients.hpp), the same text
// for the CPU and for CUDA (ops/step_loss.hpp says how).
#include "ops/fast_exp.hpp"
#include "ops/penalty_of_entry.hpp"
#include "refract/ops/feature_gradients.hpp"

namespace refract {

// A term as the loops read it; null where it has none.
struct SlopePointers {
  const double *factor, *per_entry, *per_count;
  PenaltyKind kind;
  float steepness;
  const float *norms, *slopes;
  Through through;
  const float *first, *second;  // of the further numbers
  float bandwidth;
};
inline SlopePointers slope_pointers(const GradientTerm& term) {
  return {term.factor.data(),         term.per_entry.data(),  term.per_count.data(),
          term.penalty.kind,          term.penalty.steepness, term.penalty.norms.data(),
          term.penalty.slopes.data(), term.through,           term.further[0].data(),
          term.further[1].data(),     term.bandwidth};
}

// Of one feature's entries.
struct EntrySlopes {
  FeaturePenalty penalty;
  Through through;
  bool weighed;  // by the decoder's norm
  float factor, per_entry, per_count;
  float threshold = 0, bandwidth = 1;  // through the threshold
  float gain = 1, b_mag = 0;           // through the gain

  constexpr EntrySlopes(const SlopePointers& of, std::size_t f)
      : penalty{of.kind, of.steepness, of.norms ? of.norms[f] : 1.0F,
                of.slopes ? of.slopes[f] : 0.0F},
        through(of.through),
        weighed(of.norms != nullptr),
        factor(static_cast<float>(*of.factor)),
        per_entry(of.per_entry ? static_cast<float>(*of.per_entry) : 0.0F),
        per_count(of.per_count ? static_cast<float>(*of.per_count) : 0.0F),
        bandwidth(of.bandwidth) {
    if (through == Through::threshold) threshold = of.first[f];
    if (through == Through::gain) b_mag = of.first[f], gain = fast_exp(of.second[f]);
  }

  // The entries of a window are penalised where they are listed as active.
  [[nodiscard]] constexpr bool weighs_decoder() const {
    return weighed && penalty.kind != PenaltyKind::none && through != Through::threshold;
  }
  // The part along W_dec[f] that the penalty of one entry adds to dW_dec.
  [[nodiscard]] constexpr float along(float value) const {
    if (!weighs_decoder() || !(penalty.norm > 0)) return 0;
    const float size = value < 0 ? -value : value;
    return per_entry * (size * penalty_slope(penalty, value)) / penalty.norm;
  }
  // What listed pre-activations contribute that lie below the threshold is nothing.
  [[nodiscard]] constexpr float activation(float value) const {
    return through == Through::threshold && !(value > threshold) ? 0.0F : value;
  }
  [[nodiscard]] constexpr float of_value(float dot, float value) const {
    const float kept = activation(value);
    const float slope = penalty.norm * penalty_slope(penalty, kept);
    return factor * dot + per_entry * (kept < 0 ? -slope : slope);
  }
  // What the slope adds to the threshold's gradient; to b_mag's it adds itself.
  [[nodiscard]] constexpr float of_threshold(float slope) const {
    return -(threshold * slope + per_count) / bandwidth;
  }
  [[nodiscard]] constexpr float of_pre(float slope) const {
    return through == Through::gain ? gain * slope : slope;
  }
  // Adds to the feature's own numbers; returns d loss / d pre.
  constexpr float to_pre(float slope, float value, const GradientRow& at, float* gradient) const {
    switch (through) {
      case Through::threshold: gradient[at.further(0)] += of_threshold(slope); return 0;
      case Through::gain:
        gradient[at.further(0)] += slope;
        gradient[at.further(1)] += slope * (value - b_mag);
        return of_pre(slope);
      default: gradient[at.bias()] += slope; return slope;
    }
  }
};

// d loss / d pre of a feature, summed over its entries: what moves b_dec.
constexpr double pre_gradient(const float* gradient, const GradientRow& at, const float* r_mag,
                              std::size_t f) {
  const auto own = static_cast<double>(gradient[at.bias()]);
  if (r_mag == nullptr) return own;
  return own +
         static_cast<double>(fast_exp(r_mag[f])) * static_cast<double>(gradient[at.further(0)]);
}

}  // namespace refract
