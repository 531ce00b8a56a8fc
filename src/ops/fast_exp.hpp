#pragma once
// exp as straight-line arithmetic that the compiler vectorises: Cody-Waite reduction by ln 2, a
// polynomial of degree 6 (Cephes expf coefficients), scaling through the exponent bits. Relative
// error below 2e-7 on [-87, 88]; the argument is clamped to it, so that nothing overflows and very
// negative arguments give 1e-38.
#include <bit>
#include <cstdint>

namespace refract {

constexpr float fast_exp(float x) {
  constexpr float kRound =
      12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
  x = x < -87.0F ? -87.0F : x;
  x = x > 88.0F ? 88.0F : x;
  const float shifted = x * 1.44269504088896341F + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375F) - n * -2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  const float e = p * (r * r) + r + 1.0F;
  const auto exponent =
      (std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(kRound) + 127U) << 23;
  return e * std::bit_cast<float>(exponent);
}

}  // namespace refract
