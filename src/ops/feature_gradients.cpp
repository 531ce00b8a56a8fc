#include "refract/ops/feature_gradients.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/backend.hpp"
#include "ops/cuda_bodies.hpp"
#include "ops/slope_of_entry.hpp"
#include "ops/step_loss.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/ops/row_kernels.hpp"

namespace refract {
namespace {

// Features handed to a thread at a time; any number gives the same bytes.
constexpr std::size_t kFeaturesPerItem = 16;
constexpr std::size_t kEntries = 64;  // of a feature at a time

GradientRow row_of(const GradientSource& source) {
  return {source.input.axis(1), source.W_dec.axis(1)};
}

// Adds one term's entries of feature f to its row.
void add_term(const GradientSource& source, const GradientTerm& term, std::size_t f,
              const GradientRow& at, float* gradient) {
  const std::uint64_t begin = term.entries.starts.data()[f],
                      end = term.entries.starts.data()[f + 1];
  if (begin == end) return;
  const EntrySlopes slopes(slope_pointers(term), f);
  const float* direction = source.W_dec.data() + f * at.d_out;
  const float *errors[kEntries], *inputs[kEntries];
  float of_pre[kEntries], scaled[kEntries];
  float along = 0;  // of the penalty's weight by the decoder's norm
  for (std::uint64_t j = begin; j < end; j += kEntries) {
    const std::size_t count = std::min<std::size_t>(kEntries, end - j);
    const std::uint32_t* rows = term.entries.rows.data() + j;
    const float* values = term.entries.values.data() + j;
    for (std::size_t i = 0; i < count; ++i) {
      errors[i] = term.error.data() + rows[i] * at.d_out;
      inputs[i] = source.input.data() + rows[i] * at.d_in;
      scaled[i] = term.moves_decoder ? slopes.factor * values[i] : 0.0F;
    }
    add_scaled_rows_with_dots(errors, scaled, count, direction, at.d_out, gradient + at.decoder(),
                              of_pre);
    for (std::size_t i = 0; i < count; ++i) {
      along += slopes.along(values[i]);
      const float slope = slopes.of_value(of_pre[i], values[i]);
      of_pre[i] = slopes.to_pre(slope, values[i], at, gradient);
    }
    if (term.through != Through::threshold)
      add_scaled_rows(inputs, of_pre, count, at.d_in, gradient);
  }
  if (slopes.weighs_decoder())
    add_scaled_rows(&direction, &along, 1, at.d_out, gradient + at.decoder());
}

}  // namespace

void feature_gradients(const GradientSource& source, std::size_t first, TensorView<float> gradients,
                       Stream& stream) {
  const GradientRow at = row_of(source);
  const std::size_t count = gradients.axis(0);
  expect_shape(gradients, "gradients", {{"features", count}, {"row", at.size()}});
  REFRACT_ASSERT(first + count <= source.W_dec.axis(0), "features {} to {} of {}", first,
                 first + count, source.W_dec.axis(0));
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::feature_gradients(source, first, gradients, stream);
  expect_cpu(stream, "feature_gradients");
  parallel_for((count + kFeaturesPerItem - 1) / kFeaturesPerItem, [&](std::size_t item) {
    for (std::size_t i = item * kFeaturesPerItem;
         i < std::min(count, (item + 1) * kFeaturesPerItem); ++i) {
      float* gradient = gradients.data() + i * at.size();
      std::fill_n(gradient, at.size(), 0.0F);
      for (const GradientTerm& term : source.terms) add_term(source, term, first + i, at, gradient);
    }
  });
}

void finish_gradients(const FinishGradients& how, TensorView<float> gradients,
                      TensorView<double> panels, Stream& stream) {
  const GradientRow at{how.W_enc.axis(1), how.W_dec.axis(1)};
  const std::size_t count = gradients.axis(0), number = panels_of(count),
                    width = how.input_is_centred ? 1 + at.d_in : 1;
  expect_shape(gradients, "gradients", {{"features", count}, {"row", at.size()}});
  expect_shape(how.W_enc, "W_enc", {{"features", count}, {"D", at.d_in}});
  expect_shape(how.W_dec, "W_dec", {{"features", count}, {"D", at.d_out}});
  expect_shape(panels, "panels", {{"panels", number}, {"width", width}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::finish_gradients(how, gradients, panels, stream);
  expect_cpu(stream, "finish_gradients");
  parallel_for(number, [&](std::size_t panel) {
    double* sums = panels.data() + panel * width;
    std::fill_n(sums, width, 0.0);
    for (std::size_t i = panel * kPanelFeatures; i < std::min(count, (panel + 1) * kPanelFeatures);
         ++i) {
      const float* direction = how.W_dec.data() + i * at.d_out;
      float* gradient = gradients.data() + i * at.size();
      float* dW_dec = gradient + at.decoder();
      // Movement along a unit row only changes its length, which is set back after the update.
      const float along = how.decoder.free_norm ? 0.0F : -dot(dW_dec, direction, at.d_out);
      if (!how.decoder.free_norm) add_scaled_rows(&direction, &along, 1, at.d_out, dW_dec);
      // An entry at its bound that a descent would push below it does not move, so it has no slope
      // either: neither the norm that clips all gradients nor the moments may see one.
      if (how.decoder.non_negative)
        for (std::size_t d = 0; d < at.d_out; ++d)
          if (direction[d] == 0 && dW_dec[d] > 0) dW_dec[d] = 0;
      sums[0] += squared_norm(gradient, at.size());
      if (!how.input_is_centred) continue;
      const double of_pre = pre_gradient(gradient, at, how.r_mag.data(), i);
      const float* encoder = how.W_enc.data() + i * at.d_in;
      for (std::size_t d = 0; d < at.d_in; ++d)
        sums[1 + d] -= of_pre * static_cast<double>(encoder[d]);
    }
  });
}

void bias_gradient(TensorView<const double> errors, TensorView<const double> panels, double clip,
                   TensorView<double> db_dec, TensorView<double> scalars, Stream& stream) {
  const std::size_t d_out = db_dec.size(), number = panels.axis(0), width = panels.axis(1);
  expect_shape(errors, "errors", {{"D", d_out}});
  expect_shape(scalars, "scalars", {{"scalars", kStepScalars}});
  REFRACT_ASSERT(width == 1 || width == 1 + d_out, "width {} D {}", width, d_out);
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::bias_gradient(errors, panels, clip, db_dec, scalars, stream);
  expect_cpu(stream, "bias_gradient");
  double squared = 0;
  for (std::size_t d = 0; d < d_out; ++d)
    db_dec.data()[d] = scalars.data()[kErrorFactor] * errors.data()[d];
  for (std::size_t panel = 0; panel < number; ++panel) {
    squared += panels.data()[panel * width];
    for (std::size_t d = 0; d + 1 < width; ++d)
      db_dec.data()[d] += panels.data()[panel * width + 1 + d];
  }
  for (const double value : db_dec.span()) squared += value * value;
  clip_scalars_of(std::sqrt(squared), clip, scalars.data());
}

namespace {

// The largest magnitude; infinity when a value is not finite.
double largest(TensorView<const float> values) {
  float out = 0;
  for (const float value : values.span())
    out = std::isfinite(value) ? std::max(out, std::abs(value))
                               : std::numeric_limits<float>::infinity();
  return static_cast<double>(out);
}

}  // namespace

void explain_overflow(TensorView<const float> x, TensorView<const float> W_enc,
                      TensorView<const float> b_enc, TensorView<const float> b_dec,
                      TensorView<double> scalars, Stream& stream) {
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::explain_overflow(x, W_enc, b_enc, b_dec, scalars, stream);
  expect_cpu(stream, "explain_overflow");
  if (scalars.data()[kFinite] != 0) return;
  scalars.data()[kLargestInput] = largest(x);
  scalars.data()[kLargestWeight] = std::max({largest(W_enc), largest(b_enc), largest(b_dec)});
}

}  // namespace refract
