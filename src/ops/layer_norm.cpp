#include "refract/ops/layer_norm.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "ops/backend.hpp"
#include "ops/workers.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

// Partial sums in a fixed number of lanes, so that the order of additions does not depend on the
// vector width.
constexpr std::size_t kLanes = 8;

REFRACT_SIMD_CLONES double sum_of(const float* x, std::size_t size) {
  std::array<double, kLanes> lanes{};
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) lanes[j] += static_cast<double>(x[i + j]);
  }
  for (; i < size; ++i) lanes[i % kLanes] += static_cast<double>(x[i]);
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

REFRACT_SIMD_CLONES double sum_of_squares(const float* x, double mean, std::size_t size) {
  std::array<double, kLanes> lanes{};
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) {
      const double difference = static_cast<double>(x[i + j]) - mean;
      lanes[j] += difference * difference;
    }
  }
  for (; i < size; ++i) {
    const double difference = static_cast<double>(x[i]) - mean;
    lanes[i % kLanes] += difference * difference;
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

REFRACT_SIMD_CLONES void scale_and_shift(const float* x, float mean, float inverse,
                                         const float* weight, const float* bias, float* y,
                                         std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] = (x[i] - mean) * inverse * weight[i] + bias[i];
}

}  // namespace

void layer_norm(TensorView<const float> x, TensorView<const float> weight,
                TensorView<const float> bias, float eps, TensorView<float> y, Stream& stream) {
  expect_cpu(stream, "layer_norm");
  const std::size_t rows = x.axis(0), width = x.axis(1);
  expect_shape(y, "y", {{"N", rows}, {"D", width}});
  expect_shape(weight, "weight", {{"D", width}});
  expect_shape(bias, "bias", {{"D", width}});
  for_each_row(rows, [&](std::size_t i) {
    const float* row = x.row(i).data();
    const double mean = sum_of(row, width) / static_cast<double>(width);
    const double variance = sum_of_squares(row, mean, width) / static_cast<double>(width);
    const double inverse = 1.0 / std::sqrt(variance + static_cast<double>(eps));
    scale_and_shift(row, static_cast<float>(mean), static_cast<float>(inverse), weight.data(),
                    bias.data(), y.row(i).data(), width);
  });
}

}  // namespace refract
