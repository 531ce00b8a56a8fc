#include "refract/analysis/planted.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

constexpr std::size_t kRows = 20000;

PlantedConfig small() {
  PlantedConfig config;
  config.d_in = 16;
  config.features = 40;
  config.roots = 10;
  config.correlation_scale = 0;
  config.exclusive_share = 0.6;
  return config;
}

// fires[f * n + i]: feature f in row i.
std::vector<std::uint8_t> firings(const PlantedTruth& truth, std::size_t n) {
  const PlantedRows rows = truth.rows(0, n);
  std::vector<std::uint8_t> fires(truth.config().features * n, 0);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = rows.row_starts[i]; j < rows.row_starts[i + 1]; ++j)
      fires[rows.features[j] * n + i] = 1;
  return fires;
}

double share(const std::vector<std::uint8_t>& fires, std::size_t f, std::size_t n) {
  return static_cast<double>(std::count(fires.begin() + static_cast<std::ptrdiff_t>(f * n),
                                        fires.begin() + static_cast<std::ptrdiff_t>((f + 1) * n),
                                        1)) /
         static_cast<double>(n);
}

// Five standard deviations of a share of n draws: one feature in a million is beyond them.
double five_sigma(double rate, std::size_t n) {
  return 5 * std::sqrt(rate * (1 - rate) / static_cast<double>(n));
}

TEST(PlantedTruth, features_fire_at_the_rates_it_tells_though_parents_and_siblings_take_some_away) {
  const PlantedTruth truth(small());
  const std::vector<std::uint8_t> fires = firings(truth, kRows);

  std::size_t children = 0, excluded = 0;
  for (std::size_t f = 0; f < 40; ++f) {
    EXPECT_NEAR(share(fires, f, kRows), truth.rates()[f],
                five_sigma(truth.rates()[f], kRows) + 5e-4)
        << "feature " << f;
    children += truth.parent(f).has_value();
    excluded += f > 0 && truth.exclude_each_other(f, f - 1);
  }
  EXPECT_EQ(children, 30U);  // two levels: 20 below the roots, 10 below those
  EXPECT_EQ(excluded, 9U);   // of 15 pairs
}

TEST(PlantedTruth, rates_without_a_hierarchy_are_the_power_law_of_synthsaebench) {
  const auto golden = nlohmann::json::parse(
      read_file(fs::path(REFRACT_SOURCE_DIR) / "tests/data/planted_golden.json"));
  std::size_t compared = 0;
  for (const auto& law : golden["rates"]) {
    PlantedConfig config;
    config.d_in = 4;
    config.features = law["features"];
    config.firing_exponent = law["exponent"];
    config.firing_most = law["most"];
    config.firing_least = law["least"];
    config.branching = 0;
    const PlantedTruth truth(config);
    for (std::size_t f = 0; f < config.features; ++f, ++compared)
      EXPECT_NEAR(truth.rates()[f], law["rates"][f].get<double>(), 1e-6) << f;
  }
  EXPECT_EQ(compared, 17U);
}

TEST(PlantedTruth, a_child_fires_with_its_parent_alone_and_not_beside_one_that_excludes_it) {
  const PlantedTruth truth(small());
  const std::vector<std::uint8_t> fires = firings(truth, kRows);

  std::size_t child_fired = 0, siblings_met = 0;
  for (std::size_t f = 0; f < 40; ++f)
    for (std::size_t i = 0; i < kRows; ++i) {
      if (fires[f * kRows + i] == 0) continue;
      if (const auto parent = truth.parent(f)) {
        ASSERT_TRUE(fires[*parent * kRows + i]) << "feature " << f << " row " << i;
        ++child_fired;
      }
      if (f == 0 || fires[(f - 1) * kRows + i] == 0) continue;
      ASSERT_FALSE(truth.exclude_each_other(f, f - 1)) << "feature " << f << " row " << i;
      siblings_met += truth.parent(f) && truth.parent(f) == truth.parent(f - 1);
    }
  EXPECT_GT(child_fired, kRows / 2);
  EXPECT_GT(siblings_met, 100U);  // where nothing excludes them
}

TEST(PlantedTruth, features_fire_together_as_the_sign_of_their_correlation_says) {
  PlantedConfig config = small();
  config.branching = 0;
  config.factors = 3;
  config.correlation_scale = 0.4;
  const PlantedTruth truth(config);
  const std::vector<std::uint8_t> fires = firings(truth, kRows);

  std::size_t positive = 0, negative = 0;
  for (std::size_t a = 0; a < 10; ++a)
    for (std::size_t b = 0; b < a; ++b) {
      const double planned = truth.correlation(a, b);
      if (std::abs(planned) < 0.2) continue;
      double together = 0;
      for (std::size_t i = 0; i < kRows; ++i)
        together += fires[a * kRows + i] & fires[b * kRows + i];
      const double product = share(fires, a, kRows) * share(fires, b, kRows);
      const double excess = together / double{kRows} - product;
      EXPECT_GT(excess * planned, 0) << a << " and " << b << ": " << planned;
      EXPECT_GT(std::abs(excess), 3 * std::sqrt(product / double{kRows})) << a << " and " << b;
      (planned > 0 ? positive : negative) += 1;
    }
  EXPECT_GT(positive, 3U);
  EXPECT_GT(negative, 3U);
  for (std::size_t f = 0; f < 40; ++f)  // the copula leaves the rates as they are
    EXPECT_NEAR(share(fires, f, kRows), truth.rates()[f],
                five_sigma(truth.rates()[f], kRows) + 5e-4);
}

TEST(PlantedTruth, rows_are_the_same_however_they_are_cut_and_for_any_number_of_threads) {
  const PlantedTruth truth(small());
  const int threads = thread_count();
  const PlantedRows whole = truth.rows(1000, 100);
  set_thread_count(1);
  const PlantedTruth again(small());
  std::vector<float> x, values;
  std::vector<std::uint32_t> features;
  std::uint64_t first = 1000;
  for (const std::size_t n : {1, 0, 33, 66}) {
    const PlantedRows part = again.rows(first, n);
    first += n;
    x.insert(x.end(), part.x.span().begin(), part.x.span().end());
    features.insert(features.end(), part.features.begin(), part.features.end());
    values.insert(values.end(), part.values.begin(), part.values.end());
  }
  set_thread_count(threads);

  EXPECT_TRUE(std::ranges::equal(x, whole.x.span()));
  EXPECT_EQ(features, whole.features);
  EXPECT_EQ(values, whole.values);
}

TEST(PlantedTruth, a_row_is_the_constant_and_its_activations_times_their_directions) {
  const PlantedTruth truth(small());
  const PlantedRows rows = truth.rows(5, 20);

  EXPECT_GT(rows.values.size(), 20U);
  for (std::size_t i = 0; i < 20; ++i)
    for (std::size_t d = 0; d < 16; ++d) {
      double sum = double{truth.constant()[d]};
      for (std::size_t j = rows.row_starts[i]; j < rows.row_starts[i + 1]; ++j)
        sum += double{rows.values[j]} * double{truth.directions().row(rows.features[j])[d]};
      EXPECT_NEAR(double{rows.x.row(i)[d]}, sum, 1e-5);
    }
}

TEST(PlantedTruth, directions_are_unit_rows_as_far_apart_as_so_many_can_be) {
  PlantedConfig config = small();
  config.spread_steps = 200;
  const PlantedTruth truth(config);

  double squares = 0;
  for (std::size_t a = 0; a < 40; ++a)
    for (std::size_t b = 0; b < 40; ++b) {
      double cosine = 0;
      for (std::size_t d = 0; d < 16; ++d)
        cosine += double{truth.directions().row(a)[d]} * double{truth.directions().row(b)[d]};
      if (a == b) {
        EXPECT_NEAR(cosine, 1, 1e-6);
      }
      squares += cosine * cosine;
    }
  EXPECT_NEAR(squares, 40.0 * 40 / 16, 1e-3);  // Welch's bound
}

TEST(PlantedTruth, refuses_rates_that_are_none) {
  for (const auto& [most, least] : {std::pair{0.2, 0.3}, {1.0, 0.1}, {0.5, 0.0}}) {
    PlantedConfig config = small();
    config.firing_most = most;
    config.firing_least = least;
    EXPECT_THROW(PlantedTruth{config}, ConfigError) << most << " " << least;
  }
}

}  // namespace
}  // namespace refract
