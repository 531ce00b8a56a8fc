#include "refract/metrics/concentration.hpp"

#include <algorithm>
#include <cmath>

#include "refract/base/error.hpp"

namespace refract {
namespace {

// All of `ascending` above 0 in the end, or it is empty.
std::optional<double> gini_of(std::span<const double> ascending) {
  double sum = 0, weighted = 0;
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    sum += ascending[i];
    weighted += static_cast<double>(i + 1) * ascending[i];
  }
  if (!(sum > 0)) return std::nullopt;
  const auto count = static_cast<double>(ascending.size());
  return 2 * weighted / (count * sum) - (count + 1) / count;
}

}  // namespace

Concentration::Concentration(std::span<const std::uint64_t> counts)
    : ascending_(counts.begin(), counts.end()) {
  std::ranges::sort(ascending_);
  silent_ =
      static_cast<std::size_t>(std::ranges::upper_bound(ascending_, 0.0) - ascending_.begin());
}

Concentration::Concentration(std::span<const double> masses)
    : ascending_(masses.begin(), masses.end()) {
  for (std::size_t f = 0; f < masses.size(); ++f)
    if (!(masses[f] >= 0) || !std::isfinite(masses[f]))
      throw NumericalError(
          "the activation mass of feature {} is {}; expected a finite number from 0 on. The SAE "
          "diverged: lower its learning rate.",
          f, masses[f]);
  std::ranges::sort(ascending_);
  silent_ =
      static_cast<std::size_t>(std::ranges::upper_bound(ascending_, 0.0) - ascending_.begin());
}

std::span<const double> Concentration::alive() const {
  return std::span(ascending_).subspan(silent_);
}

double Concentration::silent_share() const {
  if (ascending_.empty()) return 0;
  return static_cast<double>(silent_) / static_cast<double>(ascending_.size());
}

std::optional<double> Concentration::gini() const { return gini_of(ascending_); }
std::optional<double> Concentration::gini_alive() const { return gini_of(alive()); }

std::vector<double> Concentration::lorenz(std::size_t points) const {
  REFRACT_ASSERT(points > 0);
  double sum = 0;
  for (const double value : ascending_) sum += value;
  if (!(sum > 0)) return {};
  std::vector<double> curve;
  curve.reserve(points + 1);
  double below = 0;  // of the first `passed` features
  std::size_t passed = 0;
  for (std::size_t i = 0; i < points; ++i) {
    const double at = static_cast<double>(i) * static_cast<double>(ascending_.size()) /
                      static_cast<double>(points);
    for (; passed < static_cast<std::size_t>(at); ++passed) below += ascending_[passed];
    curve.push_back((below + (at - static_cast<double>(passed)) * ascending_[passed]) / sum);
  }
  curve.push_back(1);
  return curve;
}

}  // namespace refract
