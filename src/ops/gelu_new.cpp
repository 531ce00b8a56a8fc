#include "refract/ops/gelu_new.hpp"

#include "ops/backend.hpp"
#include "ops/cuda_bodies.hpp"
#include "ops/gelu_tanh.hpp"
#include "ops/workers.hpp"
#include "refract/base/build_info.hpp"

namespace refract {
namespace {

REFRACT_SIMD_CLONES void gelu_new_values(float* x, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) x[i] = gelu_tanh(x[i]);
}

}  // namespace

void gelu_new(TensorView<float> x, Stream& stream) {
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda) return cuda::gelu_new(x, stream);
  expect_cpu(stream, "gelu_new");
  for_each_stretch(x.size(), [&](std::size_t first, std::size_t count) {
    gelu_new_values(x.data() + first, count);
  });
}

}  // namespace refract
