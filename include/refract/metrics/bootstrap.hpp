#pragma once
// Bootstrap over documents.
#include <cstdint>
#include <vector>

namespace refract {

struct Interval {
  double low = 0, high = 0;
};

// How often each of `documents` documents is drawn in sample `replicate`: a function of (seed,
// replicate) alone.
[[nodiscard]] std::vector<std::uint32_t> bootstrap_counts(std::size_t documents, std::uint64_t seed,
                                                          std::size_t replicate);
// The 2.5 % and 97.5 % points of the replicates' values: at least one, all finite.
[[nodiscard]] Interval percentile_interval(std::vector<double> values);
}  // namespace refract
