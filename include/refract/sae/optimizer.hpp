#pragma once
// The schedule of the optimiser, and what Adam's update (ops/adam.hpp) needs of a step.
#include <cstdint>

#include "refract/ops/adam.hpp"
#include "refract/sae/config.hpp"
#include "refract/sae/state.hpp"

namespace refract {

// Learning rate of update number `step` (from 0) of `steps`: linear warm-up over the first
// `warmup`, constant, linear decay towards 0 over the last `decay`, each a share of the steps or,
// above 1, so many of them.
[[nodiscard]] double learning_rate(const OptimizerConfig& config, std::uint64_t step,
                                   std::uint64_t steps);

// step: counted from 1, SaeState::step + 1.
[[nodiscard]] AdamNumbers adam_numbers(const OptimizerConfig& config, double lr,
                                       std::uint64_t step);

// The rows of the features whose moments `state` holds.
[[nodiscard]] AdamRows adam_rows_of(SaeState& state, bool trains_threshold);

}  // namespace refract
