#include "refract/analysis/auroc.hpp"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

namespace refract {

double auroc(std::span<const double> positives, std::span<const double> negatives) {
  if (positives.empty() || negatives.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::vector<std::pair<double, bool>> scores;
  scores.reserve(positives.size() + negatives.size());
  for (const double s : positives) scores.emplace_back(s, true);
  for (const double s : negatives) scores.emplace_back(s, false);
  std::sort(scores.begin(), scores.end());

  double positive_ranks = 0;
  for (std::size_t i = 0; i < scores.size();) {
    std::size_t j = i;
    std::size_t tied_positives = 0;
    for (; j < scores.size() && scores[j].first == scores[i].first; ++j)
      tied_positives += scores[j].second;
    const double mid_rank = 0.5 * static_cast<double>(i + 1 + j);  // ranks count from 1
    positive_ranks += mid_rank * static_cast<double>(tied_positives);
    i = j;
  }
  const auto p = static_cast<double>(positives.size());
  return (positive_ranks - p * (p + 1) / 2) / (p * static_cast<double>(negatives.size()));
}

}  // namespace refract
