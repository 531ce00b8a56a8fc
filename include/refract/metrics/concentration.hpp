#pragma once
// How unevenly features share the work: Gini coefficient and Lorenz curve of how often they fire
// (counts) or how much (masses).
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace refract {

// With c sorted ascending, i = 1..F:  G = 2 sum(i c_i) / (F sum(c)) - (F + 1) / F: 0 where all are
// equal, (F - 1) / F where one has everything. Of the silent ones, those with c = 0, it holds that
//
//   G = p + (1 - p) G_alive,   p = silent_share()
//
// so a Gini that moves may be the dead rate alone: show G_alive beside it.
// Sums are fp64 in ascending order: the same bytes in whatever order the values come.
class Concentration {
 public:
  explicit Concentration(std::span<const std::uint64_t> counts = {});
  // Throws NumericalError for a mass that is negative or not finite.
  explicit Concentration(std::span<const double> masses);

  [[nodiscard]] double silent_share() const;  // of all features; 0 where there are none
  // Nothing where every feature is silent.
  [[nodiscard]] std::optional<double> gini() const;
  [[nodiscard]] std::optional<double> gini_alive() const;
  // points + 1 values from 0 to 1: what share of the sum the least active i / points of all
  // features hold, linear between features. Empty where every feature is silent. points >= 1.
  [[nodiscard]] std::vector<double> lorenz(std::size_t points) const;

 private:
  [[nodiscard]] std::span<const double> alive() const;
  std::vector<double> ascending_;
  std::size_t silent_ = 0;
};

}  // namespace refract
