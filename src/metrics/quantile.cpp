#include "refract/metrics/quantile.hpp"

#include <algorithm>
#include <cstddef>

#include "refract/base/error.hpp"

namespace refract {

double quantile(std::span<const double> sorted, double share) {
  REFRACT_ASSERT(!sorted.empty() && share >= 0 && share <= 1, "{} values, share {}", sorted.size(),
                 share);
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const double part = place - static_cast<double>(below);
  return sorted[below] + part * (sorted[std::min(below + 1, sorted.size() - 1)] - sorted[below]);
}

}  // namespace refract
