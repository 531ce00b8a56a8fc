#pragma once
// A calibration whose rows are far from white, and that knows how to whiten them.
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "refract/base/random.hpp"
#include "refract/metrics/isotropy.hpp"
#include "refract/stages/calibrate.hpp"
#include "refract/store/calibration.hpp"

namespace refract::test {

// Rows x [n, D] with a mean that is not zero, and directions of very different variance.
inline Tensor<float> uneven_rows(std::size_t n, std::size_t d, std::uint64_t seed) {
  Tensor<float> x(Shape{n, d});
  const CounterRng rng(Purpose::test, {seed, d});
  for (std::size_t i = 0; i < n; ++i) {
    const double shared = rng.normal(i * (d + 1) + d);
    for (std::size_t j = 0; j < d; ++j)
      x.row(i)[j] =
          static_cast<float>(3 + 0.5 * static_cast<double>(j) + 2 * shared +
                             rng.normal(i * (d + 1) + j) / (1 + 0.25 * static_cast<double>(j)));
  }
  return x;
}

inline HookCalibration calibration_of(const std::string& hook, const Tensor<float>& x) {
  const std::size_t n = x.axis(0), d = x.axis(1);
  HookCalibration out;
  out.hook = hook;
  out.d_in = d;
  out.rows = n;
  out.mean.assign(d, 0);
  out.covariance.assign(d * d, 0);
  std::vector<double> mean(d, 0.0);
  for (std::size_t i = 0; i < n; ++i) {
    double squares = 0;
    for (std::size_t j = 0; j < d; ++j) {
      const auto value = static_cast<double>(x.row(i)[j]);
      mean[j] += value / static_cast<double>(n);
      squares += value * value;
    }
    out.mean_norm += std::sqrt(squares) / static_cast<double>(n);
  }
  for (std::size_t j = 0; j < d; ++j) out.mean[j] = static_cast<float>(mean[j]);
  out.geometric_median = out.mean;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t a = 0; a < d; ++a)
      for (std::size_t b = 0; b < d; ++b)
        out.covariance[a * d + b] += (static_cast<double>(x.row(i)[a]) - mean[a]) *
                                     (static_cast<double>(x.row(i)[b]) - mean[b]) /
                                     static_cast<double>(n);
  ZcaWhitening zca = zca_whitening_of(out.covariance, d, kCalibratedWhiteningFloor);
  out.whitening = std::make_shared<const WhiteningMaps>(
      WhiteningMaps{std::move(zca.W), std::move(zca.inverse)});
  return out;
}

}  // namespace refract::test
