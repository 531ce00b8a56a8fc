#include "refract/ops/soft_cap.hpp"

#include "ops/backend.hpp"
#include "ops/fast_tanh.hpp"
#include "ops/workers.hpp"
#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

REFRACT_SIMD_CLONES void cap_values(float* x, std::size_t size, float cap) {
  for (std::size_t i = 0; i < size; ++i) x[i] = cap * fast_tanh(x[i] / cap);
}

}  // namespace

void soft_cap(TensorView<float> x, float cap, Stream& stream) {
  expect_cpu(stream, "soft_cap");
  REFRACT_ASSERT(cap > 0, "cap {}", cap);
  for_each_stretch(x.size(), [&](std::size_t first, std::size_t count) {
    cap_values(x.data() + first, count, cap);
  });
}

}  // namespace refract
