#pragma once
// Area under the ROC curve: the chance that a random positive scores above a random negative.
#include <span>

namespace refract {

// Ties count one half (mid-ranks, Mann-Whitney U). NaN when either side is empty.
[[nodiscard]] double auroc(std::span<const double> positives, std::span<const double> negatives);

}  // namespace refract
