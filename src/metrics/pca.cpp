#include "refract/metrics/pca.hpp"

#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"

namespace refract {

Tensor<float> principal_components(std::span<const double> covariance, std::size_t d_in,
                                   std::size_t k) {
  REFRACT_ASSERT(covariance.size() == d_in * d_in && k >= 1 && k <= d_in,
                 "covariance {} d_in {} k {}", covariance.size(), d_in, k);
  if (d_in > std::numeric_limits<lapack_int>::max() / d_in)
    throw ConfigError(
        "the PCA baseline of {} dimensions needs a matrix of more elements than LAPACK can count: "
        "leave pca out of evaluate.baselines.",
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
    return LAPACKE_dsyevr(LAPACK_COL_MAJOR, 'V', 'I', 'U', n, matrix.data(), n, 0, 0,
                          n - static_cast<lapack_int>(k) + 1, n, 0, &found, eigenvalues.data(),
                          vectors.data(), n, support.data());
  }();
  if (info != 0 || found != static_cast<lapack_int>(k))
    throw NumericalError(
        "PCA baseline: LAPACK dsyevr returned {} with {} of {} eigenvectors. Check that "
        "calibration.h5 holds finite numbers.",
        info, found, k);
  Tensor<float> components(Shape{k, d_in});
  for (std::size_t c = 0; c < k; ++c) {
    const double* from = vectors.data() + (k - 1 - c) * d_in;
    const double* largest = std::max_element(
        from, from + d_in, [](double a, double b) { return std::abs(a) < std::abs(b); });
    const double sign = *largest < 0 ? -1 : 1;
    for (std::size_t d = 0; d < d_in; ++d)
      components.row(c)[d] = static_cast<float>(sign * from[d]);
  }
  return components;
}

void reconstruct_from_components(TensorView<const float> x, std::span<const float> mean,
                                 const Tensor<float>& components, TensorView<float> x_hat) {
  const std::size_t n = x.axis(0), d_in = x.axis(1);
  expect_shape(components.cview(), "components", {{"k", components.axis(0)}, {"D", d_in}});
  expect_shape(x_hat, "x_hat", {{"n", n}, {"D", d_in}});
  parallel_for(n, [&](std::size_t row) {
    const float* from = x.row(row).data();
    float* out = x_hat.row(row).data();
    std::copy(mean.begin(), mean.end(), out);
    for (std::size_t c = 0; c < components.axis(0); ++c) {
      const float* direction = components.row(c).data();
      double along = 0;
      for (std::size_t d = 0; d < d_in; ++d)
        along += (static_cast<double>(from[d]) - static_cast<double>(mean[d])) *
                 static_cast<double>(direction[d]);
      for (std::size_t d = 0; d < d_in; ++d) out[d] += static_cast<float>(along) * direction[d];
    }
  });
}

}  // namespace refract
