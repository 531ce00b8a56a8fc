#include "refract/analysis/pca.hpp"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>

#include <cmath>
#include <vector>

#include "refract/base/error.hpp"
#include "refract/base/random.hpp"
#include "support/baselines_golden.hpp"

namespace refract {
namespace {

using test::golden;

// Rows vary along two orthogonal directions of five.
constexpr std::size_t kDim = 5;
const double kStrong[kDim] = {0.6, 0.8, 0, 0, 0}, kWeak[kDim] = {0, 0, 1, 0, 0};

std::vector<double> plane_covariance() {
  std::vector<double> covariance(kDim * kDim);
  for (std::size_t i = 0; i < kDim; ++i)
    for (std::size_t j = 0; j < kDim; ++j)
      covariance[i * kDim + j] = 9 * kStrong[i] * kStrong[j] + kWeak[i] * kWeak[j];
  return covariance;
}

TEST(PrincipalComponents, come_by_falling_variance_with_a_fixed_sign) {
  const PrincipalComponents found = principal_components(plane_covariance(), kDim, 2);

  EXPECT_NEAR(found.variances[0], 9, 1e-6);
  EXPECT_NEAR(found.variances[1], 1, 1e-6);
  for (std::size_t d = 0; d < kDim; ++d) {
    EXPECT_NEAR(found.directions.row(0)[d], kStrong[d], 1e-6);
    EXPECT_NEAR(found.directions.row(1)[d], kWeak[d], 1e-6);
  }
}

// Refused before the matrix is read, so that none of 16 GiB is needed.
TEST(PrincipalComponents, refuse_more_dimensions_than_lapack_counts) {
  constexpr std::size_t kLarge = 46'341;
  const double first = 0;

  EXPECT_THROW((void)principal_components({&first, kLarge * kLarge}, kLarge, 2), ConfigError);
}

TEST(PrincipalComponents, explain_the_variance_that_scikit_learn_says) {
  const Tensor<float> x = golden("ica.x"), r2 = golden("pca.r2");
  const std::size_t n = x.axis(0), d = x.axis(1);
  std::vector<double> mean(d), covariance(d * d);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < d; ++j) mean[j] += double(x.row(i)[j]) / double(n);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t a = 0; a < d; ++a)
      for (std::size_t b = 0; b < d; ++b)
        covariance[a * d + b] +=
            (double(x.row(i)[a]) - mean[a]) * (double(x.row(i)[b]) - mean[b]) / double(n);

  const PrincipalComponents found = principal_components(covariance, d, d);

  double left = 0, whole = 0;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < d; ++j) whole += std::pow(double(x.row(i)[j]) - mean[j], 2);
  for (std::size_t r = 1; r <= d; ++r) {
    left = 0;
    for (std::size_t i = 0; i < n; ++i) {
      std::vector<double> rest(d);
      for (std::size_t j = 0; j < d; ++j) rest[j] = double(x.row(i)[j]) - mean[j];
      for (std::size_t c = 0; c < r; ++c) {
        double along = 0;
        for (std::size_t j = 0; j < d; ++j) along += rest[j] * double(found.directions.row(c)[j]);
        for (std::size_t j = 0; j < d; ++j) rest[j] -= along * double(found.directions.row(c)[j]);
      }
      for (const double value : rest) left += value * value;
    }
    EXPECT_NEAR(1 - left / whole, r2.data()[r - 1], 1e-6) << r << " components";
  }
}

// Several ranks share cores that one rank has alone, and the BLAS has threads accordingly.
TEST(PrincipalComponents, have_the_same_bytes_however_many_threads_the_blas_has) {
  const auto set =
      reinterpret_cast<void (*)(int)>(::dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
  if (!set) GTEST_SKIP() << "not OpenBLAS";
  constexpr std::size_t kLarge = 200;
  const CounterRng rng(Purpose::test, {31});
  std::vector<double> factor(kLarge * kLarge), covariance(kLarge * kLarge, 0.0);
  for (std::size_t i = 0; i < factor.size(); ++i) factor[i] = rng.normal(i);
  for (std::size_t i = 0; i < kLarge; ++i)
    for (std::size_t j = 0; j < kLarge; ++j)
      for (std::size_t k = 0; k < kLarge; ++k)
        covariance[i * kLarge + j] += factor[i * kLarge + k] * factor[j * kLarge + k];
  const auto of_threads = [&](int threads) {
    set(threads);
    return principal_components(covariance, kLarge, kLarge);
  };

  const PrincipalComponents one = of_threads(1), four = of_threads(4);

  EXPECT_EQ(one.variances, four.variances);
  EXPECT_TRUE(std::ranges::equal(one.directions.span(), four.directions.span()));
}

}  // namespace
}  // namespace refract
