#include "refract/tensor/dot.hpp"

namespace refract {
namespace {
// Enough independent sums to hide the latency of an addition.
constexpr std::size_t kLanes = 32;

template <typename Sum>
Sum add_lanes(Sum* lanes) {
  for (std::size_t half = kLanes / 2; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
}
}  // namespace

REFRACT_SIMD_CLONES
float dot(const float* a, const float* b, std::size_t n) {
  float lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::size_t l = 0; l < kLanes; ++l) lanes[l] += a[i + l] * b[i + l];
  for (std::size_t l = 0; i + l < n; ++l) lanes[l] += a[i + l] * b[i + l];
  return add_lanes(lanes);
}

REFRACT_SIMD_CLONES
double squared_norm(const float* a, std::size_t n) {
  double lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::size_t l = 0; l < kLanes; ++l) {
      const double value = static_cast<double>(a[i + l]);
      lanes[l] += value * value;
    }
  for (std::size_t l = 0; i + l < n; ++l) {
    const double value = static_cast<double>(a[i + l]);
    lanes[l] += value * value;
  }
  return add_lanes(lanes);
}

REFRACT_SIMD_CLONES
double squared_distance(const float* a, const float* b, std::size_t n) {
  double lanes[kLanes] = {};
  const auto square = [&](std::size_t i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    return difference * difference;
  };
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::size_t l = 0; l < kLanes; ++l) lanes[l] += square(i + l);
  for (std::size_t l = 0; i + l < n; ++l) lanes[l] += square(i + l);
  return add_lanes(lanes);
}

}  // namespace refract
