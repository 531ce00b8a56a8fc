#include "refract/metrics/quantile.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace refract {
namespace {

TEST(Quantile, lies_between_two_values_by_the_straight_line) {
  const std::vector<double> sorted{1, 2, 4, 8};

  EXPECT_DOUBLE_EQ(quantile(sorted, 0), 1);
  EXPECT_DOUBLE_EQ(quantile(sorted, 0.5), 3);
  EXPECT_DOUBLE_EQ(quantile(sorted, 0.75), 5);
  EXPECT_DOUBLE_EQ(quantile(sorted, 1), 8);
  EXPECT_DOUBLE_EQ(quantile(std::vector<double>{7}, 0.3), 7);
}

}  // namespace
}  // namespace refract
