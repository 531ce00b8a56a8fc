#pragma once
// Activations with structure: sparse sources, mixed, around an offset.
#include <string>
#include <vector>

#include "refract/base/random.hpp"
#include "refract/store/calibration.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract::test {

// A tenth of the rows is excluded, and far from the others.
struct MixedRows {
  Tensor<float> x;                     // [n, D]
  std::vector<std::uint8_t> excluded;  // [n]
  HookCalibration calibration;         // of the others
};
inline MixedRows mixed_rows(const std::string& hook, std::size_t n, std::size_t d) {
  const CounterRng sources(Purpose::test, {1}), mixing(Purpose::test, {2});
  MixedRows out{Tensor<float>(Shape{n, d}), std::vector<std::uint8_t>(n), {}};
  HookCalibration& hc = out.calibration;
  hc.hook = hook;
  hc.d_in = d;
  hc.sink_threshold = 1e9;
  hc.mean_norm = 1;
  std::vector<double> mean(d), second(d * d);
  for (std::size_t i = 0; i < n; ++i) {
    out.excluded[i] = i % 10 == 3 ? 1 : 0;
    std::vector<double> row(d, out.excluded[i] != 0 ? 1000.0 : 2.0);
    for (std::size_t s = 0; s < d; ++s) {
      if (sources.uniform(1'000'000 + i * d + s) > 0.3) continue;
      const double value = sources.normal(i * d + s);
      for (std::size_t j = 0; j < d; ++j) row[j] += value * mixing.normal(s * d + j);
    }
    for (std::size_t j = 0; j < d; ++j) out.x.row(i)[j] = static_cast<float>(row[j]);
    if (out.excluded[i] != 0) continue;
    ++hc.rows;
    for (std::size_t a = 0; a < d; ++a) {
      mean[a] += row[a];
      for (std::size_t b = 0; b < d; ++b) second[a * d + b] += row[a] * row[b];
    }
  }
  const auto rows = static_cast<double>(hc.rows);
  for (double& value : mean) value /= rows;
  for (std::size_t a = 0; a < d; ++a)
    for (std::size_t b = 0; b < d; ++b)
      hc.covariance.push_back(second[a * d + b] / rows - mean[a] * mean[b]);
  hc.mean.assign(mean.begin(), mean.end());
  hc.geometric_median = hc.mean;
  return out;
}

}  // namespace refract::test
