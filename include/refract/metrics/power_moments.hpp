#pragma once
// Mean, variance, skewness, kurtosis and range of each column of rows, mergeable: the formulas of
// Pebay 2008 (Sandia report SAND2008-6212, eqs. 2.1, 3.1), of which Chan's are the first two. Never
// E[x^2] - E[x]^2, which loses everything where the mean is large beside the spread.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "refract/tensor/tensor.hpp"

namespace refract {

// Sums of powers of (x - mean), in fp64. What two of them make together depends on their order in
// the last bits: who divides rows adds fixed blocks of them in a fixed order.
class PowerMoments {
 public:
  PowerMoments() = default;
  // Of the rows of x [n, D]: the mean first, then the powers about it. A column is summed in the
  // order of the rows, so bytes do not depend on threads.
  [[nodiscard]] static PowerMoments of(TensorView<const float> x);
  void merge(const PowerMoments& other);  // of as many columns, or of none

  // As plain numbers, for another process: packed_size(D) of them.
  [[nodiscard]] static std::size_t packed_size(std::size_t d) { return 1 + 6 * d; }
  void pack(std::span<double> to) const;
  [[nodiscard]] static PowerMoments unpack(std::span<const double> from);

  [[nodiscard]] double rows() const { return n_; }
  [[nodiscard]] const std::vector<double>& mean() const { return mean_; }              // [D]
  [[nodiscard]] const std::vector<double>& squared_deviations() const { return m2_; }  // [D] sums
  [[nodiscard]] const std::vector<double>& smallest() const { return min_; }           // [D]
  [[nodiscard]] const std::vector<double>& largest() const { return max_; }            // [D]
  // [D] of the population (divided by n), as the covariance of moments.hpp.
  [[nodiscard]] std::vector<double> standard_deviation() const;
  // [D] sqrt(n) M3 / M2^1.5 and n M4 / M2^2 - 3 (0 for a normal distribution), scipy.stats' skew
  // and kurtosis with their defaults. NaN where a column does not vary.
  [[nodiscard]] std::vector<double> skewness() const;
  [[nodiscard]] std::vector<double> excess_kurtosis() const;
  [[nodiscard]] std::vector<double> second_moment() const;  // [D] E[x^2] = mean^2 + variance

 private:
  double n_ = 0;
  std::vector<double> mean_, m2_, m3_, m4_, min_, max_;
};

}  // namespace refract
