#include "refract/metrics/bootstrap.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "refract/base/random.hpp"

namespace refract {
namespace {

TEST(Bootstrap, draws_as_many_documents_as_there_are) {
  const auto counts = bootstrap_counts(50, 1, 3);

  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0U), 50U);
  EXPECT_EQ(counts, bootstrap_counts(50, 1, 3));
  EXPECT_NE(counts, bootstrap_counts(50, 1, 4));
  EXPECT_NE(counts, bootstrap_counts(50, 2, 3));
}

TEST(Bootstrap, percentiles_lie_between_the_values) {
  std::vector<double> values(101);
  std::iota(values.begin(), values.end(), 0.0);

  const Interval interval = percentile_interval(values);

  EXPECT_DOUBLE_EQ(interval.low, 2.5);
  EXPECT_DOUBLE_EQ(interval.high, 97.5);
}

TEST(Bootstrap, the_interval_of_a_mean_has_the_width_of_its_standard_error) {
  const CounterRng rng(Purpose::test, {1});
  std::vector<double> values(400);
  for (std::size_t i = 0; i < 400; ++i) values[i] = rng.normal(i);

  std::vector<double> means(2000);
  for (std::size_t replicate = 0; replicate < means.size(); ++replicate) {
    const std::vector<std::uint32_t> counts = bootstrap_counts(400, 7, replicate);
    for (std::size_t i = 0; i < 400; ++i) means[replicate] += counts[i] * values[i] / 400;
  }
  const Interval interval = percentile_interval(std::move(means));

  EXPECT_NEAR(interval.high - interval.low, 2 * 1.96 / 20, 0.03);
}

}  // namespace
}  // namespace refract
