#include "refract/metrics/pca.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "refract/base/error.hpp"
#include "refract/base/random.hpp"

namespace refract {
namespace {

// Rows that vary along two orthogonal directions of five, around an offset.
constexpr std::size_t kDim = 5, kRows = 200;
const double kStrong[kDim] = {0.6, 0.8, 0, 0, 0}, kWeak[kDim] = {0, 0, 1, 0, 0};

Tensor<float> plane_rows() {
  const CounterRng rng(Purpose::test, {9});
  Tensor<float> x(Shape{kRows, kDim});
  for (std::size_t row = 0; row < kRows; ++row) {
    const double a = 3 * rng.normal(2 * row), b = rng.normal(2 * row + 1);
    for (std::size_t d = 0; d < kDim; ++d)
      x.row(row)[d] = static_cast<float>(1 + a * kStrong[d] + b * kWeak[d]);
  }
  return x;
}

std::vector<double> plane_covariance() {
  std::vector<double> covariance(kDim * kDim);
  for (std::size_t i = 0; i < kDim; ++i)
    for (std::size_t j = 0; j < kDim; ++j)
      covariance[i * kDim + j] = 9 * kStrong[i] * kStrong[j] + kWeak[i] * kWeak[j];
  return covariance;
}

TEST(PrincipalComponents, come_by_falling_variance_with_a_fixed_sign) {
  const Tensor<float> components = principal_components(plane_covariance(), kDim, 2);

  for (std::size_t d = 0; d < kDim; ++d) {
    EXPECT_NEAR(components.row(0)[d], kStrong[d], 1e-6);
    EXPECT_NEAR(components.row(1)[d], kWeak[d], 1e-6);
  }
}

// Refused before the matrix is read, so that none of 16 GiB is needed.
TEST(PrincipalComponents, refuse_more_dimensions_than_lapack_counts) {
  constexpr std::size_t kLarge = 46'341;
  const double first = 0;

  EXPECT_THROW((void)principal_components({&first, kLarge * kLarge}, kLarge, 2), ConfigError);
}

TEST(PrincipalComponents, enough_of_them_give_the_rows_back) {
  const Tensor<float> x = plane_rows();
  Tensor<float> x_hat(Shape{kRows, kDim});
  const std::vector<float> mean(kDim, 1);
  const auto worst = [&](std::size_t k) {
    reconstruct_from_components(x.cview(), mean, principal_components(plane_covariance(), kDim, k),
                                x_hat.view());
    double largest = 0;
    for (std::size_t i = 0; i < x.size(); ++i)
      largest = std::max(largest, std::abs(double(x.data()[i]) - double(x_hat.data()[i])));
    return largest;
  };

  EXPECT_GT(worst(1), 0.5);
  EXPECT_LT(worst(2), 1e-5);
}

}  // namespace
}  // namespace refract
