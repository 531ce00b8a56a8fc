#include "refract/ops/gelu_new.hpp"

#include <algorithm>

#include "ops/backend.hpp"
#include "ops/cuda_bodies.hpp"
#include "ops/fast_exp.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

constexpr std::size_t kTaskValues = 16384;

REFRACT_SIMD_CLONES void gelu_new_values(float* x, std::size_t size) {
  constexpr float kMinusTwoRoot = -1.5957691216057308F;  // -2 sqrt(2 / pi)
  for (std::size_t i = 0; i < size; ++i) {
    const float value = x[i];
    const float minus_2u = kMinusTwoRoot * (value + 0.044715F * value * value * value);
    x[i] = value / (1.0F + fast_exp(minus_2u));
  }
}

}  // namespace

void gelu_new(TensorView<float> x, Stream& stream) {
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda) return cuda::gelu_new(x, stream);
  expect_cpu(stream, "gelu_new");
  const std::size_t size = x.size();
  parallel_for((size + kTaskValues - 1) / kTaskValues, [&](std::size_t task) {
    const std::size_t first = task * kTaskValues;
    gelu_new_values(x.data() + first, std::min(kTaskValues, size - first));
  });
}

}  // namespace refract
