#pragma once
#include <span>

namespace refract {

// The value below which `share` of the values lie, between two of them by the straight line
// (NumPy's "linear"). `sorted`: ascending, at least one.
[[nodiscard]] double quantile(std::span<const double> sorted, double share);

}  // namespace refract
