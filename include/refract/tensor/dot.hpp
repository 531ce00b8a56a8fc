#pragma once
// Products and norms of rows of fp32: the one of each, so that two rooms that measure the same row
// find the same number. Sums have a fixed number of lanes, added in a fixed tree: every instruction
// set gives the same bytes.
#include <cmath>
#include <cstddef>
#include <span>

namespace refract {

[[nodiscard]] float dot(const float* a, const float* b, std::size_t n);  // in fp32
[[nodiscard]] double squared_norm(const float* a, std::size_t n);        // in fp64
// |a - b|^2, each difference taken in fp64
[[nodiscard]] double squared_distance(const float* a, const float* b, std::size_t n);
[[nodiscard]] inline double norm_of(std::span<const float> row) {  // L2
  return std::sqrt(squared_norm(row.data(), row.size()));
}

}  // namespace refract
