#include "refract/ops/token_kl.hpp"

#include <algorithm>
#include <cmath>

#include "ops/backend.hpp"
#include "ops/softmax_sums.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

// log p_v - log q_v = (a_v - largest a) - (b_v - largest b) + log sum of q - log sum of p, the
// sums being those of exp(logit - largest).
REFRACT_SIMD_CLONES double kl_of(const float* a, const float* b, std::size_t size) {
  const float a_top = *std::max_element(a, a + size), b_top = *std::max_element(b, b + size);
  const double p_sum = sum_in_lanes(
      size, [&](std::size_t i) { return static_cast<double>(fast_exp(a[i] - a_top)); });
  const double q_sum = sum_in_lanes(
      size, [&](std::size_t i) { return static_cast<double>(fast_exp(b[i] - b_top)); });
  const double apart = static_cast<double>(a_top) - static_cast<double>(b_top);
  const double weighted = sum_in_lanes(size, [&](std::size_t i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]) - apart;
    return static_cast<double>(fast_exp(a[i] - a_top)) * difference;
  });
  return weighted / p_sum + std::log(q_sum) - std::log(p_sum);
}

}  // namespace

void token_kl(TensorView<const float> p_logits, TensorView<const float> q_logits,
              std::span<float> kl, Stream& stream) {
  expect_cpu(stream, "token_kl");
  const std::size_t rows = p_logits.axis(0), vocab = p_logits.axis(1);
  expect_shape(q_logits, "q_logits", {{"N", rows}, {"V", vocab}});
  REFRACT_ASSERT(kl.size() == rows, "kl {} rows {}", kl.size(), rows);
  parallel_for(rows, [&](std::size_t i) {
    const double value = kl_of(p_logits.data() + i * vocab, q_logits.data() + i * vocab, vocab);
    // Rounding may leave a little below 0; what is not a number stays so.
    kl[i] = static_cast<float>(value < 0 ? 0.0 : value);
  });
}

}  // namespace refract
