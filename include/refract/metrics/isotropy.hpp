#pragma once
// How evenly rows use the directions of their space. Two families, which do not measure the same:
//
//   mean cosine            of two rows: tells a common offset; 0 when there is none
//   the rest               from the eigenvalues l of the covariance: tells how the spread about the
//                          mean is divided; an offset does not touch it
//
// The eigenvalues are LAPACK's: their last digits depend on the BLAS below it (pca.hpp).
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "refract/tensor/tensor.hpp"

namespace refract {

// Sums of directions x/|x|; a row of zeros has none and is not counted.
struct DirectionSum {
  explicit DirectionSum(std::size_t d) : sum(d, 0.0) {}
  std::vector<double> sum;  // [D]
  double rows = 0;
  void add(TensorView<const float> x);  // x [n, D]; in the order of the rows
  void add(const DirectionSum& other);
};
// The mean cosine of all pairs of different rows, (|sum|^2 - n) / (n (n - 1)): in expectation
// |E[x/|x|]|^2 whatever the number of rows, where the square of the mean direction is too large by
// 1/n. Nothing for fewer than two rows.
[[nodiscard]] std::optional<double> mean_cosine(const DirectionSum& directions);

// Of a symmetric positive semi-definite matrix [D, D], largest first; those that rounding made
// negative are 0. NumericalError when LAPACK does not converge; ConfigError for more dimensions
// than its 32-bit sizes allow (46,340). Memory: 2 x the matrix.
[[nodiscard]] std::vector<double> eigenvalues(std::span<const double> covariance, std::size_t d);

struct SpectrumShape {
  double participation_ratio = 0;  // (sum l)^2 / sum l^2: 1 to D
  double effective_rank = 0;       // exp(entropy of l / sum l): 1 to D (Roy & Vetterli 2007)
  std::optional<double> isoscore;  // below; nothing for one dimension
  std::optional<double> condition_number;  // largest l / smallest; nothing where the smallest is
                                           // zero within rounding (below D x 2^-52 of the largest)
};
// Nothing when no eigenvalue is above zero: rows that are all the same, or fewer than two.
[[nodiscard]] std::optional<SpectrumShape> spectrum_shape(std::span<const double> eigenvalues);
// IsoScore of Rudman et al. 2022 (arXiv 2108.07344, algorithm 1), step by step, from the variances
// along the principal components: 0 all in one, 1 the same in each. At least two of them, not all
// zero. (It equals (participation ratio - 1) / (D - 1).)
[[nodiscard]] double isoscore(std::span<const double> variances);
// How many of the largest eigenvalues hold this share of their sum.
[[nodiscard]] std::size_t components_for(std::span<const double> eigenvalues, double share);

// PCA whitening: y = W (x - mean), W = max(l, floor)^-1/2 E^T, for the covariance E diag(l) E^T.
// ZCA whitening is E y: a rotation of it, so every number of this header is the same for both.
struct Whitening {
  Tensor<float> W;          // [D, D], the direction of the largest variance first
  double floor = 0;         // variance below which a direction is not raised further
  std::size_t floored = 0;  // directions below it
};
// floor = `relative_floor` x the largest eigenvalue. NumericalError when no eigenvalue is above
// zero, or LAPACK does not converge; ConfigError as eigenvalues(). Memory: 3 x the covariance.
[[nodiscard]] Whitening whitening_of(std::span<const double> covariance, std::size_t d,
                                     double relative_floor);
// ZCA whitening, W = E max(l, floor)^-1/2 E^T: of all whitenings the one that turns rows least. W
// and its inverse are symmetric, to the last bit. Throws and takes as whitening_of().
struct ZcaWhitening {
  Tensor<float> W, inverse;  // [D, D]
  double floor = 0;
};
[[nodiscard]] ZcaWhitening zca_whitening_of(std::span<const double> covariance, std::size_t d,
                                            double relative_floor);
// W covariance W^T [D, D]: of whitened rows, from that of the rows. 4 D^3 flops.
[[nodiscard]] std::vector<double> whitened_covariance(const Tensor<float>& W,
                                                      std::span<const double> covariance);

}  // namespace refract
