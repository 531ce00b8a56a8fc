#include "refract/metrics/outlier_dimensions.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "refract/base/error.hpp"

namespace refract {

OutlierDimensions outlier_dimensions(std::span<const double> sizes) {
  REFRACT_ASSERT(!sizes.empty(), "no dimension");
  OutlierDimensions out;
  const std::size_t d = sizes.size();
  out.by_size.resize(d);
  std::iota(out.by_size.begin(), out.by_size.end(), std::size_t{0});
  std::ranges::stable_sort(out.by_size,
                           [&](std::size_t a, std::size_t b) { return sizes[a] > sizes[b]; });
  out.median = (sizes[out.by_size[(d - 1) / 2]] + sizes[out.by_size[d / 2]]) / 2;
  out.mean = std::accumulate(sizes.begin(), sizes.end(), 0.0) / static_cast<double>(d);
  double squares = 0;
  for (const double size : sizes) squares += (size - out.mean) * (size - out.mean);
  out.deviation = std::sqrt(squares / static_cast<double>(d));
  out.threshold = std::max(out.mean + 3 * out.deviation, 2 * out.median);
  if (out.median > 0) out.threshold = std::min(out.threshold, 20 * out.median);
  while (out.count < d && sizes[out.by_size[out.count]] > out.threshold) ++out.count;
  return out;
}

}  // namespace refract
