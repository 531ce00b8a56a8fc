#include "refract/ops/gelu.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "support/bytes_of_rows.hpp"
#include "support/random_tensor.hpp"

namespace refract {
namespace {

double expected(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }

TEST(Gelu, equals_the_erf_form_in_fp64) {
  Stream stream;
  Tensor<float> x({400001});
  for (std::size_t i = 0; i < x.size(); ++i)
    x.data()[i] = static_cast<float>((static_cast<double>(i) - 200000) / 14000);
  const std::vector<float> before(x.span().begin(), x.span().end());

  gelu(x.view(), stream);

  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double value = static_cast<double>(before[i]);
    const double off = std::abs(static_cast<double>(x.data()[i]) - expected(value));
    worst = std::max(worst, off / std::max(std::abs(value), 1e-7));
  }
  EXPECT_LT(worst, 2e-7);
}

TEST(Gelu, knows_its_values_by_hand_and_stands_large_ones) {
  Stream stream;
  Tensor<float> x({7});
  std::ranges::copy(std::array<float, 7>{0, 1, -1, 50, 1e30F, -50, -1e30F}, x.data());

  gelu(x.view(), stream);

  EXPECT_EQ(x.data()[0], 0);
  EXPECT_NEAR(x.data()[1], 0.8413447461F, 2e-7F);
  EXPECT_NEAR(x.data()[2], -0.1586552539F, 2e-7F);
  EXPECT_EQ(x.data()[3], 50);
  EXPECT_EQ(x.data()[4], 1e30F);
  EXPECT_NEAR(x.data()[5], 0, 1e-30F);
  EXPECT_NEAR(x.data()[6], 0, 1e-6F);
}

TEST(Gelu, passes_on_what_is_not_a_number) {
  Stream stream;
  Tensor<float> x({2});
  x.data()[0] = std::numeric_limits<float>::quiet_NaN();

  gelu(x.view(), stream);

  EXPECT_TRUE(std::isnan(x.data()[0]));
}

TEST(Gelu, gives_a_row_the_same_bytes_beside_any_others) {
  Stream stream;
  const auto x = test::random_tensor({203, 301}, 1, 3);

  test::expect_bytes_of_rows(203, [&](std::size_t first, std::size_t count) {
    auto y = test::rows_of(x, first, count);
    gelu(y.view(), stream);
    return y;
  });
}

}  // namespace
}  // namespace refract
