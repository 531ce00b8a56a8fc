#include "refract/ops/rotate.hpp"

#include <cmath>

#include "ops/backend.hpp"
#include "ops/expect_heads.hpp"
#include "ops/workers.hpp"
#include "refract/base/error.hpp"

namespace refract {
namespace {

REFRACT_SIMD_CLONES void turn_pairs(float* low, float* high, const float* cos, const float* sin,
                                    std::size_t half) {
  for (std::size_t i = 0; i < half; ++i) {
    const float a = low[i], b = high[i];
    low[i] = a * cos[i] - b * sin[i];
    high[i] = b * cos[i] + a * sin[i];
  }
}

double angle_of(std::size_t position, double inverse_frequency, AngleRounding rounding) {
  if (rounding == AngleRounding::none) return static_cast<double>(position) * inverse_frequency;
  return static_cast<double>(static_cast<float>(position) * static_cast<float>(inverse_frequency));
}

}  // namespace

RotaryTables::RotaryTables(std::span<const double> inverse_frequencies, double factor,
                           std::size_t positions, AngleRounding rounding)
    : cos_({positions, inverse_frequencies.size()}), sin_({positions, inverse_frequencies.size()}) {
  for_each_row(positions, [&](std::size_t p) {
    for (std::size_t i = 0; i < inverse_frequencies.size(); ++i) {
      const double angle = angle_of(p, inverse_frequencies[i], rounding);
      cos_.row(p)[i] = static_cast<float>(factor * std::cos(angle));
      sin_.row(p)[i] = static_cast<float>(factor * std::sin(angle));
    }
  });
}

void rotate(TensorView<float> x, std::span<const std::uint32_t> positions, HeadColumns heads,
            const RotaryTables& tables, Stream& stream) {
  expect_cpu(stream, "rotate");
  const std::size_t half = tables.half();
  expect_shape(x, "x", {{"N", positions.size()}, {"C", x.axis(1)}});
  REFRACT_ASSERT(2 * half <= heads.width, "{} dimensions to turn in heads of {}", 2 * half,
                 heads.width);
  expect_heads(x, heads);
  for_each_row(positions.size(), [&](std::size_t i) {
    const float* cos = tables.cos().row(positions[i]).data();
    const float* sin = tables.sin().row(positions[i]).data();
    float* head = x.row(i).data() + heads.first;
    for (std::size_t h = 0; h < heads.heads; ++h, head += heads.width)
      turn_pairs(head, head + half, cos, sin, half);
  });
}

}  // namespace refract
