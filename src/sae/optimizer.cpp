#include "refract/sae/optimizer.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "refract/base/parallel.hpp"
#include "sae/row_kernels.hpp"

namespace refract {
namespace {

constexpr std::size_t kFeaturesPerItem = 16;

// The step's numbers as the loops need them: w -= rate * m / (sqrt(v) * root + epsilon), with
// Adam's bias corrections folded into rate and root.
struct Factors {
  float scale, beta1, rest1, beta2, rest2, rate, root, epsilon;  // rest = 1 - beta, taken in fp64
};

Factors factors(const AdamStep& step) {
  const auto t = static_cast<double>(step.step);
  const double first = 1 - std::pow(step.config.beta1, t),
               second = 1 - std::pow(step.config.beta2, t);
  const auto f32 = [](double value) { return static_cast<float>(value); };
  return {f32(step.gradient_scale),   f32(step.config.beta1),     f32(1 - step.config.beta1),
          f32(step.config.beta2),     f32(1 - step.config.beta2), f32(step.lr / first),
          f32(1 / std::sqrt(second)), f32(step.config.epsilon)};
}

REFRACT_SIMD_CLONES
void adam(const float* gradient, std::size_t n, const Factors& f, float* w, float* m, float* v) {
  const float scale = f.scale, beta1 = f.beta1, rest1 = f.rest1, beta2 = f.beta2, rest2 = f.rest2;
  const float rate = f.rate, root = f.root, epsilon = f.epsilon;
#pragma GCC ivdep
  for (std::size_t i = 0; i < n; ++i) {
    const float g = scale * gradient[i];
    m[i] = beta1 * m[i] + rest1 * g;
    v[i] = beta2 * v[i] + rest2 * (g * g);
    w[i] -= rate * m[i] / (std::sqrt(v[i]) * root + epsilon);
  }
}

void to_unit_norm(float* row, std::size_t n) {
  const double squared = squared_norm(row, n);
  if (squared > 0) scale(row, static_cast<float>(1 / std::sqrt(squared)), n, row);
}

// With to_unit_norm: the nearest unit row without negative entries. Where no entry is positive that
// is the axis of the largest.
void to_non_negative(float* row, std::size_t n) {
  float* const largest = std::max_element(row, row + n);
  if (!(*largest > 0)) *largest = 1;
  for (std::size_t i = 0; i < n; ++i) row[i] = row[i] > 0 ? row[i] : 0.0F;
}

}  // namespace

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

double clip_scale(double norm, double clip) { return clip > 0 && norm > clip ? clip / norm : 1.0; }

void adam_update(SaeState& state, const FeatureGradients& gradients, const AdamStep& step) {
  const Factors f = factors(step);
  const std::size_t d_in = state.parameters.d_in();
  SaeParameters &p = state.parameters, &m = state.m, &v = state.v;
  parallel_for((gradients.count + kFeaturesPerItem - 1) / kFeaturesPerItem, [&](std::size_t item) {
    const std::size_t begin = item * kFeaturesPerItem,
                      count = std::min(kFeaturesPerItem, gradients.count - begin);
    const std::size_t row = gradients.first + begin, at = row * d_in;
    const auto update = [&](const Tensor<float>& gradient, Tensor<float>& w, Tensor<float>& first,
                            Tensor<float>& second, std::size_t width) {
      adam(gradient.data() + begin * width, count * width, f, w.data() + row * width,
           first.data() + row * width, second.data() + row * width);
    };
    update(gradients.dW_enc, p.W_enc, m.W_enc, v.W_enc, d_in);
    update(gradients.db_enc, p.b_enc, m.b_enc, v.b_enc, 1);
    update(gradients.dW_dec, p.W_dec, m.W_dec, v.W_dec, d_in);
    if (gradients.dthreshold.size() != 0)
      update(gradients.dthreshold, p.threshold, m.threshold, v.threshold, 1);
    for (std::size_t i = 0; i < count; ++i) {
      float* row_of_feature = p.W_dec.data() + at + i * d_in;
      if (p.non_negative_decoder) to_non_negative(row_of_feature, d_in);
      to_unit_norm(row_of_feature, d_in);
    }
  });
}

void adam_update_b_dec(SaeState& state, std::span<const double> db_dec, const AdamStep& step) {
  std::vector<float> gradient(db_dec.size());
  std::transform(db_dec.begin(), db_dec.end(), gradient.begin(),
                 [](double value) { return static_cast<float>(value); });
  adam(gradient.data(), gradient.size(), factors(step), state.parameters.b_dec.data(),
       state.m.b_dec.data(), state.v.b_dec.data());
}

}  // namespace refract
