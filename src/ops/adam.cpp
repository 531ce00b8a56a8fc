#include "refract/ops/adam.hpp"

#include <algorithm>
#include <cmath>

#include "ops/backend.hpp"
#include "ops/cuda_bodies.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/parallel.hpp"
#include "refract/ops/row_kernels.hpp"
#include "refract/ops/step_sums.hpp"

namespace refract {
namespace {

constexpr std::size_t kFeaturesPerItem = 16;

REFRACT_SIMD_CLONES
void adam(const float* gradient, std::size_t n, float scale, const AdamNumbers& f, float* w,
          float* m, float* v) {
  const float beta1 = f.beta1, rest1 = f.rest1, beta2 = f.beta2, rest2 = f.rest2;
  const float rate = f.rate, root = f.root, epsilon = f.epsilon;
#pragma GCC ivdep
  for (std::size_t i = 0; i < n; ++i) {
    const float g = scale * gradient[i];
    m[i] = beta1 * m[i] + rest1 * g;
    v[i] = beta2 * v[i] + rest2 * (g * g);
    w[i] -= rate * m[i] / (std::sqrt(v[i]) * root + epsilon);
  }
}

void to_unit_norm(float* row, std::size_t n) {
  const double squared = squared_norm(row, n);
  if (squared > 0) scale(row, static_cast<float>(1 / std::sqrt(squared)), n, row);
}

// With to_unit_norm: the nearest unit row without negative entries. Where no entry is positive that
// is the axis of the largest.
void to_non_negative(float* row, std::size_t n) {
  float* const largest = std::max_element(row, row + n);
  if (!(*largest > 0)) *largest = 1;
  for (std::size_t i = 0; i < n; ++i) row[i] = row[i] > 0 ? row[i] : 0.0F;
}

}  // namespace

void adam_rows(TensorView<const float> gradients, const AdamRows& rows, const AdamNumbers& numbers,
               TensorView<const double> scalars, Stream& stream) {
  const GradientRow at{rows.W_enc.w.axis(1), rows.W_dec.w.axis(1)};
  const std::size_t count = gradients.axis(0);
  expect_shape(gradients, "gradients", {{"features", count}, {"row", at.size()}});
  expect_shape(rows.W_enc.w, "W_enc", {{"features", count}, {"D", at.d_in}});
  expect_shape(rows.W_dec.m, "m.W_dec", {{"features", count}, {"D", at.d_out}});
  expect_shape(scalars, "scalars", {{"scalars", kStepScalars}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::adam_rows(gradients, rows, numbers, scalars, stream);
  expect_cpu(stream, "adam_rows");
  if (scalars.data()[kFinite] == 0) return;
  const auto factor = static_cast<float>(scalars.data()[kScale]);
  parallel_for((count + kFeaturesPerItem - 1) / kFeaturesPerItem, [&](std::size_t item) {
    for (std::size_t i = item * kFeaturesPerItem;
         i < std::min(count, (item + 1) * kFeaturesPerItem); ++i) {
      const float* gradient = gradients.data() + i * at.size();
      const auto update = [&](std::size_t from, std::size_t width, const AdamWeights& to) {
        adam(gradient + from, width, factor, numbers, to.w.data() + i * width,
             to.m.data() + i * width, to.v.data() + i * width);
      };
      update(0, at.d_in, rows.W_enc);
      update(at.decoder(), at.d_out, rows.W_dec);
      update(at.bias(), 1, rows.b_enc);
      for (std::size_t j = 0; j < kFurther; ++j)
        if (rows.further[j].w.size() != 0) update(at.further(j), 1, rows.further[j]);
      if (rows.further_is_threshold) {
        float& threshold = rows.further[0].w.data()[i];
        threshold = threshold > 0 ? threshold : 0.0F;
      }
      float* direction = rows.W_dec.w.data() + i * at.d_out;
      if (rows.decoder.non_negative) to_non_negative(direction, at.d_out);
      if (!rows.decoder.free_norm) to_unit_norm(direction, at.d_out);
    }
  });
}

void adam_vector(TensorView<const double> gradient, TensorView<float> w, TensorView<float> m,
                 TensorView<float> v, const AdamNumbers& numbers, TensorView<const double> scalars,
                 Stream& stream) {
  expect_shape(w, "w", {{"D", gradient.size()}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::adam_vector(gradient, w, m, v, numbers, scalars, stream);
  expect_cpu(stream, "adam_vector");
  if (scalars.data()[kFinite] == 0) return;
  const auto factor = static_cast<float>(scalars.data()[kScale]);
  for (std::size_t d = 0; d < gradient.size(); ++d) {
    const auto value = static_cast<float>(gradient.data()[d]);
    adam(&value, 1, factor, numbers, w.data() + d, m.data() + d, v.data() + d);
  }
}

}  // namespace refract
