#include "refract/sae/optimizer.hpp"

#include <algorithm>
#include <cmath>

namespace refract {

double learning_rate(const OptimizerConfig& config, std::uint64_t step, std::uint64_t steps) {
  const double warmup = config.warmup * static_cast<double>(steps),
               decay = config.decay * static_cast<double>(steps);
  const auto at = static_cast<double>(step);
  double factor = 1;
  if (at + 1 < warmup) factor = (at + 1) / warmup;
  const double left = static_cast<double>(steps) - at;
  if (left < decay) factor = std::min(factor, left / decay);
  return config.lr * factor;
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
  SaeParameters &p = state.parameters, &m = state.m, &v = state.v;
  AdamRows rows{.W_enc = p.W_enc.view().rows(first, count),
                .b_enc = p.b_enc.view().rows(first, count),
                .W_dec = p.W_dec.view().rows(first, count),
                .threshold = {},
                .m_W_enc = m.W_enc.view(),
                .m_b_enc = m.b_enc.view(),
                .m_W_dec = m.W_dec.view(),
                .m_threshold = {},
                .v_W_enc = v.W_enc.view(),
                .v_b_enc = v.b_enc.view(),
                .v_W_dec = v.W_dec.view(),
                .v_threshold = {},
                .non_negative_decoder = p.non_negative_decoder};
  if (trains_threshold) {
    rows.threshold = p.threshold.view().rows(first, count);
    rows.m_threshold = m.threshold.view();
    rows.v_threshold = v.threshold.view();
  }
  return rows;
}

}  // namespace refract
