#pragma once
// Adam on feature rows, so that a dictionary can be updated in shards; the order of a step (DESIGN,
// SPEC 6): decoder gradient projected (finish_gradients), clip by the global norm, Adam, decoder
// rows back to the nearest unit row (without negative entries, where the parameters ask for that).
#include <cstdint>

#include "refract/sae/config.hpp"
#include "refract/sae/state.hpp"
#include "refract/sae/weight_gradients.hpp"

namespace refract {

// Learning rate of update number `step` (from 0) of `steps`: linear warm-up over warmup * steps,
// constant, linear decay towards 0 over the last decay * steps.
[[nodiscard]] double learning_rate(const OptimizerConfig& config, std::uint64_t step,
                                   std::uint64_t steps);

// Gradients are multiplied by this before Adam: 1 when the norm is within `clip` or clip is 0.
[[nodiscard]] double clip_scale(double norm, double clip);

struct AdamStep {
  OptimizerConfig config;
  double lr = 0;
  double gradient_scale = 1;
  std::uint64_t step = 1;  // counted from 1: SaeState::step + 1
};

// Updates the rows of `gradients` (parameters and moments) of `state`; state.step is left alone.
void adam_update(SaeState& state, const FeatureGradients& gradients, const AdamStep& step);
void adam_update_b_dec(SaeState& state, std::span<const double> db_dec, const AdamStep& step);

}  // namespace refract
