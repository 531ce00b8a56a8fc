#include "refract/ops/rms_norm.hpp"

#include <cmath>

#include "ops/backend.hpp"
#include "ops/expect_heads.hpp"
#include "ops/workers.hpp"
#include "refract/tensor/dot.hpp"

namespace refract {
namespace {

REFRACT_SIMD_CLONES void scale_values(const float* x, float inverse, const float* weight, float* y,
                                      std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] = x[i] * inverse * weight[i];
}

void normalise(const float* x, const float* weight, float eps, float* y, std::size_t size) {
  const double mean = squared_norm(x, size) / static_cast<double>(size);
  const double inverse = 1.0 / std::sqrt(mean + static_cast<double>(eps));
  scale_values(x, static_cast<float>(inverse), weight, y, size);
}

}  // namespace

void rms_norm(TensorView<const float> x, TensorView<const float> weight, float eps,
              TensorView<float> y, Stream& stream) {
  expect_cpu(stream, "rms_norm");
  const std::size_t rows = x.axis(0), width = x.axis(1);
  expect_shape(y, "y", {{"N", rows}, {"D", width}});
  expect_shape(weight, "weight", {{"D", width}});
  for_each_row(rows, [&](std::size_t i) {
    normalise(x.row(i).data(), weight.data(), eps, y.row(i).data(), width);
  });
}

void rms_norm_heads(TensorView<float> x, HeadColumns heads, TensorView<const float> weight,
                    float eps, Stream& stream) {
  expect_cpu(stream, "rms_norm_heads");
  expect_shape(weight, "weight", {{"Dh", heads.width}});
  expect_heads(x, heads);
  for_each_row(x.axis(0), [&](std::size_t i) {
    float* head = x.row(i).data() + heads.first;
    for (std::size_t h = 0; h < heads.heads; ++h, head += heads.width)
      normalise(head, weight.data(), eps, head, heads.width);
  });
}

}  // namespace refract
