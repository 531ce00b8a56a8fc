#include "refract/sae/optimizer.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace refract {

double learning_rate(const OptimizerConfig& config, std::uint64_t step, std::uint64_t steps) {
  const auto in_steps = [&](double given) {
    return given > 1 ? given : given * static_cast<double>(steps);
  };
  const double warmup = in_steps(config.warmup), decay = in_steps(config.decay);
  const auto at = static_cast<double>(step);
  double factor = 1;
  if (at + 1 < warmup) factor = (at + 1) / warmup;
  const double left = static_cast<double>(steps) - at;
  if (left < decay) {
    const double straight = left / decay;
    const double part = config.cosine ? (1 - std::cos(std::numbers::pi * straight)) / 2 : straight;
    factor = std::min(factor, config.floor + (1 - config.floor) * part);
  }
  return config.lr * factor;
}

std::size_t k_of_step(const SaeConfig& config, std::uint64_t step, std::uint64_t steps) {
  const double over = config.k_decay * static_cast<double>(steps);
  const auto at = static_cast<double>(step);
  if (config.k_start == 0 || at >= over) return config.k;
  const auto excess = static_cast<double>(config.k_start - config.k);
  return config.k + static_cast<std::size_t>(std::lround(excess * (over - at) / over));
}

AdamNumbers adam_numbers(const OptimizerConfig& config, double lr, std::uint64_t step) {
  const auto t = static_cast<double>(step);
  const double first = 1 - std::pow(config.beta1, t), second = 1 - std::pow(config.beta2, t);
  const auto f32 = [](double value) { return static_cast<float>(value); };
  return {f32(config.beta1), f32(1 - config.beta1),      f32(config.beta2),  f32(1 - config.beta2),
          f32(lr / first),   f32(1 / std::sqrt(second)), f32(config.epsilon)};
}

AdamRows adam_rows_of(SaeState& state, bool trains_threshold) {
  const std::size_t first = state.m.first_feature - state.parameters.first_feature,
                    count = state.m.d_sae();
  const auto weights = [&](Tensor<float> SaeParameters::*of) {
    return AdamWeights{(state.parameters.*of).view().rows(first, count), (state.m.*of).view(),
                       (state.v.*of).view()};
  };
  AdamRows rows{.W_enc = weights(&SaeParameters::W_enc),
                .b_enc = weights(&SaeParameters::b_enc),
                .W_dec = weights(&SaeParameters::W_dec),
                .further_is_threshold = trains_threshold,
                .decoder = state.parameters.decoder};
  if (trains_threshold) rows.further = {weights(&SaeParameters::threshold)};
  if (state.parameters.is_gated())
    rows.further = {weights(&SaeParameters::b_mag), weights(&SaeParameters::r_mag)};
  return rows;
}

}  // namespace refract
