#include "refract/analysis/auroc.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace refract {
namespace {

TEST(Auroc, is_one_when_every_positive_scores_higher_and_zero_when_lower) {
  const std::vector<double> high{3, 4}, low{1, 2};

  EXPECT_EQ(auroc(high, low), 1.0);
  EXPECT_EQ(auroc(low, high), 0.0);
}

TEST(Auroc, counts_a_tie_as_one_half) {
  // Pairs: (1,0) (1,1) (2,0) (2,1) -> 1 + 1/2 + 1 + 1 of 4.
  const std::vector<double> positives{1, 2}, negatives{0, 1}, same{5, 5, 5};

  EXPECT_DOUBLE_EQ(auroc(positives, negatives), 3.5 / 4);
  EXPECT_DOUBLE_EQ(auroc(same, same), 0.5);
}

TEST(Auroc, equals_the_count_of_ordered_pairs) {
  const std::vector<double> positives{0.1, 0.4, 0.35, 0.8, 0.4}, negatives{0.4, 0.2, 0.9, 0.1};
  double pairs = 0;
  for (const double p : positives)
    for (const double n : negatives) pairs += p > n ? 1.0 : p == n ? 0.5 : 0.0;

  EXPECT_DOUBLE_EQ(auroc(positives, negatives), pairs / 20);
}

TEST(Auroc, of_an_empty_side_is_not_a_number) {
  const std::vector<double> some{1};

  EXPECT_TRUE(std::isnan(auroc({}, some)));
  EXPECT_TRUE(std::isnan(auroc(some, {})));
}

}  // namespace
}  // namespace refract
