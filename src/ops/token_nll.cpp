#include "refract/ops/token_nll.hpp"

#include <algorithm>
#include <cmath>

#include "ops/backend.hpp"
#include "ops/softmax_sums.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

// sum of exp(logits - largest).
REFRACT_SIMD_CLONES double sum_of_exp(const float* logits, float largest, std::size_t size) {
  return sum_in_lanes(
      size, [&](std::size_t i) { return static_cast<double>(fast_exp(logits[i] - largest)); });
}

}  // namespace

void token_nll(TensorView<const float> logits, std::span<const std::uint32_t> targets,
               std::span<float> nll, Stream& stream) {
  expect_cpu(stream, "token_nll");
  const std::size_t rows = logits.axis(0), vocab = logits.axis(1);
  REFRACT_ASSERT(targets.size() == rows && nll.size() == rows, "rows {}", rows);
  parallel_for(rows, [&](std::size_t i) {
    const float* row = logits.data() + i * vocab;
    const float largest = *std::max_element(row, row + vocab);
    const double log_sum = std::log(sum_of_exp(row, largest, vocab));
    nll[i] = static_cast<float>(
        log_sum + (static_cast<double>(largest) - static_cast<double>(row[targets[i]])));
  });
}

}  // namespace refract
