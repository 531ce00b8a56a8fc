#include "refract/metrics/outlier_dimensions.hpp"

#include <gtest/gtest.h>

namespace refract {
namespace {

using Places = std::vector<std::size_t>;

Places outliers_of(const std::vector<double>& sizes) {
  const OutlierDimensions found = outlier_dimensions(sizes);
  return {found.by_size.begin(), found.by_size.begin() + static_cast<std::ptrdiff_t>(found.count)};
}

TEST(OutlierDimensions, are_three_deviations_off_and_twice_the_median) {
  std::vector<double> sizes(100, 1.0);
  sizes[38] = 9;
  sizes[78] = 12;

  const OutlierDimensions found = outlier_dimensions(sizes);

  EXPECT_EQ(outliers_of(sizes), (Places{78, 38}));
  EXPECT_EQ(found.median, 1);
  EXPECT_NEAR(found.mean, 1.19, 1e-12);
  EXPECT_NEAR(found.threshold, found.mean + 3 * found.deviation, 1e-12);
}

TEST(OutlierDimensions, are_not_found_among_nearly_equal_sizes) {
  std::vector<double> sizes(1000, 1.0);
  sizes[7] = 1.01;  // thirty deviations off

  EXPECT_TRUE(outliers_of(sizes).empty());
}

// So many that three deviations are beyond all of them.
TEST(OutlierDimensions, are_also_those_of_twenty_times_the_median) {
  std::vector<double> sizes(10, 1.0);
  for (const std::size_t j : {2u, 5u}) sizes[j] = 21;

  EXPECT_EQ(outliers_of(sizes), (Places{2, 5}));
}

TEST(OutlierDimensions, need_more_than_a_nonzero_size_where_most_are_zero) {
  std::vector<double> sizes(10, 0.0);
  for (const std::size_t j : {1u, 4u, 6u}) sizes[j] = 1;

  EXPECT_TRUE(outliers_of(sizes).empty());
}

}  // namespace
}  // namespace refract
