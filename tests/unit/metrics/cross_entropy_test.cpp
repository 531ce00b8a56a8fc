#include "refract/metrics/cross_entropy.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace refract {
namespace {

TEST(CrossEntropySums, give_the_recovered_share_by_hand) {
  const float nan = std::nanf("");
  const std::vector<std::uint64_t> documents{1, 1, 1, 2, 2};
  CrossEntropySums sums(4);
  sums.add(0, std::vector<float>{1, 3, nan, 2, nan}, documents);  // clean: mean 2
  sums.add(1, std::vector<float>{2, 3, nan, 4, nan}, documents);  // spliced: 3
  sums.add(2, std::vector<float>{6, 6, nan, 6, nan}, documents);  // zero: 6
  sums.add(3, std::vector<float>{4, 4, nan, 4, nan}, documents);  // mean: 4

  const MetricReport report = sums.report({0, 1, 2, 3}, 1, 100);

  EXPECT_EQ(report.rows, 3U);
  EXPECT_EQ(report.documents, 2U);
  EXPECT_DOUBLE_EQ(report.of("ce_clean").value, 2);
  EXPECT_DOUBLE_EQ(report.of("ce_sae").value, 3);
  EXPECT_DOUBLE_EQ(report.of("delta_ce").value, 1);
  EXPECT_DOUBLE_EQ(report.of("ce_recovered_zero").value, 0.75);
  EXPECT_DOUBLE_EQ(report.of("ce_recovered_mean").value, 0.5);
  // Document 1 alone loses 0.5 nats, document 2 alone 2.
  EXPECT_DOUBLE_EQ(report.of("delta_ce").low, 0.5);
  EXPECT_DOUBLE_EQ(report.of("delta_ce").high, 2);
}

}  // namespace
}  // namespace refract
