#include "refract/ops/weight_mean.hpp"

#include <algorithm>
#include <cmath>

#include "ops/backend.hpp"
#include "ops/cuda_bodies.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/ops/row_kernels.hpp"
#include "refract/ops/step_sums.hpp"

namespace refract {
namespace {

constexpr std::size_t kPerItem = 16384;

REFRACT_SIMD_CLONES
void follow(const float* w, std::size_t n, float rate, float* mean) {
#pragma GCC ivdep
  for (std::size_t i = 0; i < n; ++i) mean[i] += rate * (w[i] - mean[i]);
}

}  // namespace

float weight_mean_rate(double decay, std::uint64_t update) {
  return static_cast<float>((1 - decay) / (1 - std::pow(decay, static_cast<double>(update))));
}

void follow_weights(TensorView<const float> w, float rate, TensorView<const double> scalars,
                    TensorView<float> mean, Stream& stream) {
  REFRACT_ASSERT(w.shape() == mean.shape(), "{} weights, {} means", w.size(), mean.size());
  expect_shape(scalars, "scalars", {{"scalars", kStepScalars}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::follow_weights(w, rate, scalars, mean, stream);
  expect_cpu(stream, "follow_weights");
  if (scalars.data()[kFinite] == 0) return;
  parallel_for((w.size() + kPerItem - 1) / kPerItem, [&](std::size_t item) {
    const std::size_t first = item * kPerItem;
    follow(w.data() + first, std::min(kPerItem, w.size() - first), rate, mean.data() + first);
  });
}

}  // namespace refract
