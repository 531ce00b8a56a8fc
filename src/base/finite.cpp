#include "refract/base/finite.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 18;  // values; 1 MiB

// Without a sign, bits of floats order as the floats do, and what is not finite comes last.
std::int32_t largest_bits(std::span<const float> values) {
  std::int32_t largest = 0;
  for (const float value : values)
    largest = std::max(largest, std::bit_cast<std::int32_t>(value) & 0x7FFFFFFF);
  return largest;
}

std::size_t first_at_least(std::span<const float> values, std::int32_t bits) {
  if (largest_bits(values) < bits) return values.size();
  return static_cast<std::size_t>(
      std::ranges::find_if(
          values,
          [&](float value) { return (std::bit_cast<std::int32_t>(value) & 0x7FFFFFFF) >= bits; }) -
      values.begin());
}

}  // namespace

std::size_t first_not_finite(std::span<const float> values, DType stored) {
  REFRACT_ASSERT(stored == DType::f32 || stored == DType::bf16, "stored as {}", name(stored));
  // bf16 rounds up to infinity from half a step beyond its largest number, 0x7F7F.
  const std::int32_t bits = stored == DType::bf16 ? 0x7F7F8000 : 0x7F800000;
  if (values.size() <= kPiece) return first_at_least(values, bits);
  const std::size_t pieces = (values.size() + kPiece - 1) / kPiece;
  std::vector<std::size_t> found(pieces);
  parallel_for(pieces, [&](std::size_t p) {
    const std::span<const float> piece =
        values.subspan(p * kPiece, std::min(kPiece, values.size() - p * kPiece));
    const std::size_t at = first_at_least(piece, bits);
    found[p] = at == piece.size() ? values.size() : p * kPiece + at;
  });
  return *std::ranges::min_element(found);
}

}  // namespace refract
