#include "refract/ops/soft_cap.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "support/bytes_of_rows.hpp"
#include "support/random_tensor.hpp"

namespace refract {
namespace {

TEST(SoftCap, equals_fp64_for_small_and_large_values) {
  Stream stream;
  for (const float cap : {1.0F, 30.0F, 50.0F}) {
    Tensor<float> x({200001});
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double sign = i % 2 == 0 ? 1 : -1;
      x.data()[i] = static_cast<float>(sign * std::pow(10, static_cast<double>(i) / 20000 - 6));
    }
    const std::vector<float> before(x.span().begin(), x.span().end());

    soft_cap(x.view(), cap, stream);

    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double cap_64 = static_cast<double>(cap);
      const double expected = cap_64 * std::tanh(static_cast<double>(before[i]) / cap_64);
      worst = std::max(worst,
                       std::abs(static_cast<double>(x.data()[i]) - expected) / std::abs(expected));
      ASSERT_LE(std::abs(x.data()[i]), cap);
    }
    EXPECT_LT(worst, 3e-7);
  }
}

TEST(SoftCap, keeps_zero_and_stands_values_far_outside) {
  Stream stream;
  Tensor<float> x({3});
  std::ranges::copy(std::array<float, 3>{0, 1e38F, -1e38F}, x.data());

  soft_cap(x.view(), 0.5F, stream);

  EXPECT_EQ(x.data()[0], 0);
  EXPECT_EQ(x.data()[1], 0.5F);
  EXPECT_EQ(x.data()[2], -0.5F);
}

TEST(SoftCap, gives_a_row_the_same_bytes_beside_any_others) {
  Stream stream;
  const auto x = test::random_tensor({203, 301}, 1, 40);

  test::expect_bytes_of_rows(203, [&](std::size_t first, std::size_t count) {
    auto y = test::rows_of(x, first, count);
    soft_cap(y.view(), 30, stream);
    return y;
  });
}

}  // namespace
}  // namespace refract
