#include "refract/ops/symmetric_eigen.hpp"

#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "refract/base/activity.hpp"
#include "refract/base/blas_threads.hpp"
#include "refract/base/error.hpp"

namespace refract {
namespace {

// LAPACK's come ascending, one after the other.
void turn_around(std::vector<double>& vectors, std::size_t d) {
  for (std::size_t i = 0; i < d / 2; ++i)
    std::swap_ranges(vectors.begin() + static_cast<std::ptrdiff_t>(i * d),
                     vectors.begin() + static_cast<std::ptrdiff_t>((i + 1) * d),
                     vectors.begin() + static_cast<std::ptrdiff_t>((d - 1 - i) * d));
}

// Either of a vector and its negative is one; this is the one that everybody finds.
void fix_signs(std::vector<double>& vectors, std::size_t d) {
  for (std::size_t i = 0; i < d; ++i) {
    const auto vector = std::span(vectors).subspan(i * d, d);
    const double largest =
        *std::ranges::max_element(vector, {}, [](double v) { return std::abs(v); });
    if (largest < 0)
      for (double& value : vector) value = -value;
  }
}

}  // namespace

SymmetricEigen symmetric_eigen(std::span<const double> matrix, std::size_t d, Eigen wanted,
                               std::string_view of, std::string_view without) {
  if (d > std::numeric_limits<lapack_int>::max() / d)
    throw ConfigError(
        "{} of {} dimensions need a matrix of more elements than LAPACK can count (46,340 "
        "dimensions "
        "at most): {}.",
        of, d, without);
  REFRACT_ASSERT(matrix.size() == d * d, "matrix {} d {}", matrix.size(), d);
  const bool vectors = wanted == Eigen::values_and_vectors;
  SymmetricEigen out{.values = std::vector<double>(d),
                     .vectors = std::vector<double>(matrix.begin(), matrix.end())};
  const auto n = static_cast<lapack_int>(d);
  // Symmetric, so either storage order serves; column major keeps an eigenvector contiguous.
  const lapack_int info = [&] {
    const LibraryCall call;
    const OneBlasThread alone;
    return LAPACKE_dsyevd(LAPACK_COL_MAJOR, vectors ? 'V' : 'N', 'U', n, out.vectors.data(), n,
                          out.values.data());
  }();
  if (info != 0)
    throw NumericalError(
        "{}: LAPACK dsyevd returned {} for a covariance of {} dimensions. Check that held-out rows "
        "and calibration.h5 hold finite numbers (refract describe --verify).",
        of, info, d);
  std::ranges::reverse(out.values);
  if (!vectors) {
    out.vectors.clear();
    return out;
  }
  turn_around(out.vectors, d);
  fix_signs(out.vectors, d);
  return out;
}

}  // namespace refract
