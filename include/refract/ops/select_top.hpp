#pragma once
// The k largest of a row, exactly.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace refract {

// Work memory of select_top, kept between rows. The guess only changes how fast the next row is
// done.
struct SelectScratch {
  std::vector<float> ranked;
  std::vector<std::uint32_t> candidates;
  float guess = 0, margin = 0.9F;
};

// The indices of the k largest values greater than `floor` (fewer when there are fewer), ascending,
// written to `indices` (room for k). Ties go to the lower index. NaN is never selected. Returns how
// many.
//
// One vector pass collects the values above a bound that lies below the k-th largest, a little more
// than k of them, which are then ranked. The bound is a guess from the row before; where fewer than
// k values lie above it, it is the k-th largest maximum of strided groups, which cannot exceed the
// k-th largest value.
std::size_t select_top(std::span<const float> values, std::size_t k, float floor,
                       SelectScratch& scratch, std::uint32_t* indices);

}  // namespace refract
