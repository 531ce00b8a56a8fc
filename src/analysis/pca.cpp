#include "refract/analysis/pca.hpp"

#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "refract/base/activity.hpp"
#include "refract/base/blas_threads.hpp"
#include "refract/base/error.hpp"

namespace refract {

PrincipalComponents principal_components(std::span<const double> covariance, std::size_t d_in,
                                         std::size_t k) {
  REFRACT_ASSERT(covariance.size() == d_in * d_in && k >= 1 && k <= d_in,
                 "covariance {} d_in {} k {}", covariance.size(), d_in, k);
  if (d_in > std::numeric_limits<lapack_int>::max() / d_in)
    throw ConfigError(
        "principal components of {} dimensions need a matrix of more elements than LAPACK can "
        "count: "
        "leave pca, pca_topk and ica out of evaluate.baselines.",
        d_in);
  const auto n = static_cast<lapack_int>(d_in);
  std::vector<double> matrix(covariance.begin(), covariance.end());
  std::vector<double> eigenvalues(d_in), vectors(d_in * k);
  std::vector<lapack_int> support(2 * d_in);
  lapack_int found = 0;
  // Eigenvalues come ascending: the last k of them. The matrix is symmetric, so either storage
  // order serves, and column major keeps each eigenvector contiguous.
  const lapack_int info = [&] {
    const LibraryCall call;
    const OneBlasThread alone;
    return LAPACKE_dsyevr(LAPACK_COL_MAJOR, 'V', 'I', 'U', n, matrix.data(), n, 0, 0,
                          n - static_cast<lapack_int>(k) + 1, n, 0, &found, eigenvalues.data(),
                          vectors.data(), n, support.data());
  }();
  if (info != 0 || found != static_cast<lapack_int>(k))
    throw NumericalError(
        "principal components: LAPACK dsyevr returned {} with {} of {} eigenvectors. Check that "
        "calibration.h5 holds finite numbers.",
        info, found, k);
  PrincipalComponents out{std::vector<double>(k), Tensor<float>(Shape{k, d_in})};
  for (std::size_t c = 0; c < k; ++c) {
    out.variances[c] = std::max(0.0, eigenvalues[k - 1 - c]);
    const double* from = vectors.data() + (k - 1 - c) * d_in;
    const double* largest = std::max_element(
        from, from + d_in, [](double a, double b) { return std::abs(a) < std::abs(b); });
    const double sign = *largest < 0 ? -1 : 1;
    for (std::size_t d = 0; d < d_in; ++d)
      out.directions.row(c)[d] = static_cast<float>(sign * from[d]);
  }
  return out;
}

}  // namespace refract
