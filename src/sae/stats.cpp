#include "refract/base/error.hpp"
#include "refract/sae/variant.hpp"

namespace refract {

void add_stats(const Stats& stats, GlobalStats& global) {
  if (global.counts.empty()) global.counts.assign(stats.counts.size(), 0);
  if (global.sums.empty()) global.sums.assign(stats.width, 0.0);
  REFRACT_ASSERT(global.counts.size() == stats.counts.size() && global.sums.size() == stats.width,
                 "counts {} and {}, sums {} and {}", global.counts.size(), stats.counts.size(),
                 global.sums.size(), stats.width);
  for (std::size_t i = 0; i < stats.counts.size(); ++i) global.counts[i] += stats.counts[i];
  for (std::size_t at = 0; at < stats.slice_sums.size(); at += stats.width)
    for (std::size_t i = 0; i < stats.width; ++i) global.sums[i] += stats.slice_sums[at + i];
}

}  // namespace refract
