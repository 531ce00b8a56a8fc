#pragma once
// Element types of stored and computed values. bf16 conversions round to nearest, ties to even.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace refract {

enum class DType { f32, f64, bf16, f16, u8, u16, u32, u64, i64 };

[[nodiscard]] std::size_t byte_size(DType dtype);
[[nodiscard]] std::string_view name(DType dtype);  // "fp32", "bf16", ...
[[nodiscard]] DType dtype_from_name(
    std::string_view name);  // throws ConfigError listing what is known

// The 16 bits of a bfloat16; a distinct type so that it is never mistaken for an integer.
struct BFloat16 {
  std::uint16_t bits;
};

[[nodiscard]] inline BFloat16 to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u)
    return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};  // NaN
  return {static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16)};
}
[[nodiscard]] inline float to_float(BFloat16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}
[[nodiscard]] float half_to_float(std::uint16_t bits);  // IEEE binary16

void to_bf16(std::span<const float> from, std::span<BFloat16> to);   // equal sizes
void to_float(std::span<const BFloat16> from, std::span<float> to);  // equal sizes

}  // namespace refract
