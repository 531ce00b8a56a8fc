#include "refract/base/dtype.hpp"

#include <array>
#include <utility>

#include "refract/base/error.hpp"

namespace refract {
namespace {

struct Row {
  DType dtype;
  std::string_view name;
  std::size_t bytes;
};
constexpr std::array<Row, 9> kTypes{{{DType::f32, "fp32", 4},
                                     {DType::f64, "fp64", 8},
                                     {DType::bf16, "bf16", 2},
                                     {DType::f16, "fp16", 2},
                                     {DType::u8, "u8", 1},
                                     {DType::u16, "u16", 2},
                                     {DType::u32, "u32", 4},
                                     {DType::u64, "u64", 8},
                                     {DType::i64, "i64", 8}}};

}  // namespace

std::size_t byte_size(DType dtype) {
  for (const Row& row : kTypes)
    if (row.dtype == dtype) return row.bytes;
  REFRACT_ASSERT(false, "dtype {}", static_cast<int>(dtype));
  return 0;
}

std::string_view name(DType dtype) {
  for (const Row& row : kTypes)
    if (row.dtype == dtype) return row.name;
  return "?";
}

DType dtype_from_name(std::string_view name) {
  std::string known;
  for (const Row& row : kTypes) {
    if (row.name == name) return row.dtype;
    known += known.empty() ? "" : ", ";
    known += row.name;
  }
  throw ConfigError("'{}' is no element type; known: {}", name, known);
}

float half_to_float(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1Fu;
  std::uint32_t mantissa = bits & 0x3FFu;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000u | (mantissa << 13));
  if (exponent != 0)
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  if (mantissa == 0) return std::bit_cast<float>(sign);
  std::uint32_t shift = 0;
  while (!(mantissa & 0x400u)) {  // a subnormal half is a normal float
    mantissa <<= 1;
    ++shift;
  }
  return std::bit_cast<float>(sign | ((113 - shift) << 23) | ((mantissa & 0x3FFu) << 13));
}

REFRACT_SIMD_CLONES
void to_bf16(std::span<const float> from, std::span<BFloat16> to) {
  REFRACT_ASSERT(from.size() == to.size(), "{} {}", from.size(), to.size());
  const float* source = from.data();
  BFloat16* out = to.data();
  for (std::size_t i = 0; i < from.size(); ++i) out[i] = to_bf16(source[i]);
}

REFRACT_SIMD_CLONES
void to_float(std::span<const BFloat16> from, std::span<float> to) {
  REFRACT_ASSERT(from.size() == to.size(), "{} {}", from.size(), to.size());
  const BFloat16* source = from.data();
  float* out = to.data();
  for (std::size_t i = 0; i < from.size(); ++i) out[i] = to_float(source[i]);
}

}  // namespace refract
