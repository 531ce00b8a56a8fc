#pragma once
// Dimensions far larger than the others of their space: coordinates 138, 378 and 447 of GPT-2 small
// are known ones (their indices mean nothing, other trainings have them elsewhere).
#include <cstddef>
#include <span>
#include <vector>

namespace refract {

// The size of a dimension is its root mean square, m = sqrt(E[x^2]). It is an outlier when
//   m > 20 x the median of all m (where that is not zero), or
//   m > 3 standard deviations above the mean of all m, and m > 2 x the median.
// (Without that last clause an even space would have outliers too: of its nearly equal sizes some
// lie three deviations off.) Both ask whether m is above a threshold, so the outliers are the first
// of the dimensions by falling size.
struct OutlierDimensions {
  double median = 0, mean = 0, deviation = 0;  // of all m
  double threshold = 0;
  std::vector<std::size_t> by_size;  // [D] largest first; of equal ones the first dimension
  std::size_t count = 0;             // outliers
};
[[nodiscard]] OutlierDimensions outlier_dimensions(std::span<const double> sizes);

}  // namespace refract
