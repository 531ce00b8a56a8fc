#include "refract/metrics/bootstrap.hpp"

#include <algorithm>
#include <cmath>

#include "refract/base/error.hpp"
#include "refract/base/random.hpp"
#include "refract/metrics/quantile.hpp"

namespace refract {

std::vector<std::uint32_t> bootstrap_counts(std::size_t documents, std::uint64_t seed,
                                            std::size_t replicate) {
  const CounterRng rng(Purpose::bootstrap, {seed, replicate});
  std::vector<std::uint32_t> counts(documents, 0);
  for (std::size_t i = 0; i < documents; ++i) ++counts[rng.below(i, documents)];
  return counts;
}

Interval percentile_interval(std::vector<double> values) {
  REFRACT_ASSERT(!values.empty() &&
                     std::ranges::all_of(values, [](double value) { return std::isfinite(value); }),
                 "{} values", values.size());
  std::sort(values.begin(), values.end());
  return {quantile(values, 0.025), quantile(values, 0.975)};
}

}  // namespace refract
