#include "refract/ops/add.hpp"

#include <algorithm>

#include "ops/backend.hpp"
#include "ops/cuda_bodies.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

constexpr std::size_t kTaskValues = 32768;

}  // namespace

void add(TensorView<float> x, TensorView<const float> y, Stream& stream) {
  if (x.shape() != y.shape())
    throw SystemError("add: x has {} elements, y {}: shapes differ", x.size(), y.size());
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda) return cuda::add(x, y, stream);
  expect_cpu(stream, "add");
  const std::size_t size = x.size();
  parallel_for((size + kTaskValues - 1) / kTaskValues, [&](std::size_t task) {
    const std::size_t first = task * kTaskValues, last = std::min(size, first + kTaskValues);
    float* to = x.data();
    const float* from = y.data();
    for (std::size_t i = first; i < last; ++i) to[i] += from[i];
  });
}

}  // namespace refract
