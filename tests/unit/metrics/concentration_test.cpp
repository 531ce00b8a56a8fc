#include "refract/metrics/concentration.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "refract/base/error.hpp"
#include "refract/base/random.hpp"

namespace refract {
namespace {

using Counts = std::vector<std::uint64_t>;

Concentration of(const Counts& counts) { return Concentration(std::span(counts)); }

// As many counts as `size`, about a third of them 0, over several orders of magnitude.
Counts random_counts(std::uint64_t seed, std::size_t size) {
  const CounterRng rng(Purpose::test, {seed});
  Counts counts(size);
  for (std::size_t i = 0; i < size; ++i)
    counts[i] = rng.normal(2 * i) < -0.4
                    ? 0
                    : static_cast<std::uint64_t>(1 + std::exp(8 + 3 * rng.normal(2 * i + 1)));
  return counts;
}

TEST(Concentration, of_equal_features_is_nought) {
  EXPECT_DOUBLE_EQ(of({7, 7, 7, 7}).gini().value(), 0);
  EXPECT_DOUBLE_EQ(of({7}).gini().value(), 0);
}

TEST(Concentration, of_one_that_has_everything_lacks_only_its_share) {
  EXPECT_DOUBLE_EQ(of({0, 9, 0, 0}).gini().value(), 0.75);
  EXPECT_DOUBLE_EQ(of({0, 9, 0, 0}).gini_alive().value(), 0);
  EXPECT_DOUBLE_EQ(of({0, 9, 0, 0}).silent_share(), 0.75);
}

// 1 2 3 4: 2 * (1 + 4 + 9 + 16) / (4 * 10) - 5 / 4.
TEST(Concentration, of_four_steps_is_as_by_hand) {
  EXPECT_DOUBLE_EQ(of({3, 1, 4, 2}).gini().value(), 0.25);
}

TEST(Concentration, is_the_mean_difference_of_two_features_over_twice_the_mean) {
  const Counts counts = random_counts(1, 300);
  double differences = 0, sum = 0;
  for (const auto a : counts) {
    sum += static_cast<double>(a);
    for (const auto b : counts)
      differences += std::abs(static_cast<double>(a) - static_cast<double>(b));
  }

  EXPECT_NEAR(of(counts).gini().value(), differences / (2 * 300 * sum), 1e-12);
}

TEST(Concentration, is_the_dead_rate_and_the_gini_of_the_living) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(seed);
    const Concentration c = of(random_counts(seed, 10 + 40 * seed));
    const double p = c.silent_share();

    EXPECT_GT(p, 0);
    EXPECT_NEAR(c.gini().value(), p + (1 - p) * c.gini_alive().value(), 1e-12);
  }
}

// The research log's table: p = dead, G = Gini, both as printed there.
TEST(Concentration, explains_the_logs_gini_by_its_dead_rate) {
  struct Row {
    double dead, gini, gini_alive;
  };
  const std::array<Row, 8> rows{{{0, 0.1372, 0.137},
                                 {0.5582, 0.7220, 0.371},
                                 {0.2973, 0.5582, 0.371},
                                 {0.1578, 0.4644, 0.364},
                                 {0.1598, 0.4661, 0.365},
                                 {0.1563, 0.4656, 0.367},
                                 {0.1574, 0.4603, 0.359},
                                 {0.1598, 0.4597, 0.357}}};
  for (const Row& row : rows) {
    EXPECT_NEAR(row.gini, row.dead + (1 - row.dead) * row.gini_alive, 5e-4);
    EXPECT_NEAR(row.dead * 2560, std::round(row.dead * 2560), 0.13);  // four printed digits
    EXPECT_GE(row.gini, row.dead);
  }
}

TEST(Concentration, has_the_same_bytes_in_any_order) {
  Counts counts = random_counts(3, 500);
  const Concentration before = of(counts);
  std::ranges::reverse(counts);
  std::rotate(counts.begin(), counts.begin() + 123, counts.end());

  EXPECT_EQ(before.gini(), of(counts).gini());
  EXPECT_EQ(before.lorenz(37), of(counts).lorenz(37));
}

TEST(Concentration, takes_masses_as_it_takes_counts) {
  const Counts counts = random_counts(5, 200);
  std::vector<double> masses;
  for (const auto count : counts) masses.push_back(static_cast<double>(count) / 1024);

  EXPECT_NEAR(Concentration(std::span<const double>(masses)).gini().value(),
              of(counts).gini().value(), 1e-14);
}

TEST(Concentration, is_nothing_where_no_feature_fires) {
  EXPECT_EQ(of({0, 0}).gini(), std::nullopt);
  EXPECT_EQ(of({0, 0}).gini_alive(), std::nullopt);
  EXPECT_TRUE(of({0, 0}).lorenz(4).empty());
  EXPECT_EQ(of({}).gini(), std::nullopt);
  EXPECT_DOUBLE_EQ(of({0, 0}).silent_share(), 1);
}

TEST(Concentration, refuses_a_mass_that_is_none) {
  for (const double bad : {-1.0, std::nan(""), HUGE_VAL}) {
    const std::array masses{1.0, bad};
    EXPECT_THROW(Concentration(std::span<const double>(masses)), NumericalError);
  }
}

TEST(LorenzCurve, of_four_steps_is_as_by_hand) {
  EXPECT_EQ(of({4, 3, 2, 1}).lorenz(4), (std::vector<double>{0, 0.1, 0.3, 0.6, 1}));
  EXPECT_EQ(of({4, 3, 2, 1}).lorenz(2), (std::vector<double>{0, 0.3, 1}));
  EXPECT_EQ(of({1, 3}).lorenz(4), (std::vector<double>{0, 0.125, 0.25, 0.625, 1}));
}

TEST(LorenzCurve, encloses_half_of_the_gini_with_the_diagonal) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    const Concentration c = of(random_counts(seed, 64));
    const std::vector<double> curve = c.lorenz(64);
    double area = 0;
    for (std::size_t i = 1; i < curve.size(); ++i) area += (curve[i] + curve[i - 1]) / 2 / 64;

    EXPECT_NEAR(1 - 2 * area, c.gini().value(), 1e-12);
    EXPECT_TRUE(std::ranges::is_sorted(curve));
  }
}

}  // namespace
}  // namespace refract
