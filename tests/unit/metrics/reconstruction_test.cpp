#include "refract/metrics/reconstruction.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "refract/base/error.hpp"
#include "refract/base/random.hpp"
#include "refract/metrics/metric_table.hpp"

namespace refract {
namespace {

// 60 rows of 3 documents and 4 dimensions; feature row % 5 of 8 fires, and feature 5 too in every
// second row.
struct Example {
  Tensor<float> x{Shape{60, 4}}, x_hat{Shape{60, 4}};
  std::vector<std::uint64_t> row_starts{0}, documents;
  std::vector<std::uint32_t> features;
  std::vector<float> values;
  std::vector<std::uint8_t> included;

  Example() {
    const CounterRng rng(Purpose::test, {3});
    for (std::size_t row = 0; row < 60; ++row) {
      for (std::size_t d = 0; d < 4; ++d) {
        x.row(row)[d] = static_cast<float>(5 + rng.normal(row * 4 + d));
        x_hat.row(row)[d] =
            x.row(row)[d] + static_cast<float>(0.3 * rng.normal(1000 + row * 4 + d) + 0.1);
      }
      features.push_back(static_cast<std::uint32_t>(row % 5));
      if (row % 2 == 0) features.push_back(5);
      while (values.size() < features.size())
        values.push_back(static_cast<float>(values.size() % 7) - 3.5F);
      row_starts.push_back(features.size());
      documents.push_back(row / 20);
      included.push_back(row % 10 == 9 ? 0 : 1);
    }
  }
  [[nodiscard]] MetricRows rows() const {
    return {x.cview(), x_hat.cview(), row_starts, features, values, documents, included};
  }
};

const std::vector<float> kNoReference(4, 0.0F);

DocumentTable table_of(const MetricRows& rows, std::size_t d_sae = 8) {
  DocumentTable table(std::span<const float>(kNoReference).first(rows.x.axis(1)), d_sae);
  table.add(rows);
  return table;
}

MetricReport report_of(const DocumentTable& table, std::size_t replicates = 1000,
                       std::string_view of = "the example") {
  return metric_report(table, of, replicate_metrics(table, 1, {0, replicates}));
}

TEST(Reconstruction, equal_the_definitions_written_out) {
  const Example example;
  const MetricReport report = report_of(table_of(example.rows()), 50);

  double squared_error = 0, active = 0, mean[4] = {}, total = 0, n = 54;
  std::set<std::uint32_t> fired;
  for (std::size_t row = 0; row < 60; ++row) {
    if (example.included[row] == 0) continue;
    active += double(example.row_starts[row + 1] - example.row_starts[row]);
    for (std::size_t j = example.row_starts[row]; j < example.row_starts[row + 1]; ++j)
      fired.insert(example.features[j]);
    for (std::size_t d = 0; d < 4; ++d) {
      squared_error +=
          std::pow(double(example.x.row(row)[d]) - double(example.x_hat.row(row)[d]), 2);
      mean[d] += double(example.x.row(row)[d]) / n;
    }
  }
  for (std::size_t row = 0; row < 60; ++row)
    for (std::size_t d = 0; d < 4 && example.included[row] != 0; ++d)
      total += std::pow(double(example.x.row(row)[d]) - mean[d], 2);
  EXPECT_EQ(report.rows, 54U);
  EXPECT_EQ(report.documents, 3U);
  EXPECT_NEAR(report.of("mse").value, squared_error / n / 4, 1e-12);
  EXPECT_NEAR(report.of("squared_error").value, squared_error / n, 1e-12);
  EXPECT_NEAR(report.of("r2").value, 1 - squared_error / total, 1e-9);
  EXPECT_NEAR(report.of("fvu").value, squared_error / total, 1e-9);
  EXPECT_GT(report.of("explained_variance").value, report.of("r2").value);
  EXPECT_NEAR(report.of("l0").value, active / n, 1e-12);
  EXPECT_NEAR(report.of("density").value, active / n / 8, 1e-12);
  EXPECT_NEAR(report.of("dead_rate").value, double(8 - fired.size()) / 8, 1e-12);
  // Rates of 1e-4 and below cannot be told from 54 rows.
  EXPECT_EQ(report.values.size(), metric_table().size() - 4);
  EXPECT_THROW((void)report.of("r3"), SystemError);
}

TEST(Reconstruction, intervals_hold_the_value) {
  const Example example;
  for (const MetricValue& value : report_of(table_of(example.rows())).values) {
    EXPECT_LE(value.low, value.value) << value.name;
    EXPECT_GE(value.high, value.value) << value.name;
  }
}

// Each document has features of its own, so every resample lacks some: all of them count more dead
// than there are.
TEST(Reconstruction, intervals_of_what_counts_the_unseen_hold_the_value_too) {
  constexpr std::size_t kDocuments = 60;
  Tensor<float> x(Shape{kDocuments, 1}), x_hat(Shape{kDocuments, 1});
  std::vector<std::uint64_t> row_starts{0}, documents;
  std::vector<std::uint32_t> features;
  for (std::uint32_t d = 0; d < kDocuments; ++d) {
    x.row(d)[0] = static_cast<float>(d % 7);
    features.push_back(d);
    row_starts.push_back(features.size());
    documents.push_back(d);
  }
  const std::vector<float> values(kDocuments, 1);
  const std::vector<std::uint8_t> included(kDocuments, 1);

  const MetricReport report = report_of(
      table_of({x.cview(), x_hat.cview(), row_starts, features, values, documents, included}, 100));

  for (const char* name : {"dead_rate", "gini", "gini_mass"}) {
    const MetricValue& value = report.of(name);
    EXPECT_LE(value.low, value.value) << name;
    EXPECT_GE(value.high, value.value) << name;
    EXPECT_GT(value.high - value.low, 0.01) << name;
  }
  EXPECT_EQ(report.of("dead_rate").value, 0.4);
}

TEST(Reconstruction, do_not_depend_on_how_rows_are_cut) {
  const Example example;
  const DocumentTable whole = table_of(example.rows());
  DocumentTable pieces(kNoReference, 8), first(kNoReference, 8), second(kNoReference, 8),
      together(kNoReference, 8);
  const auto part = [&](std::size_t at, std::size_t count) {
    MetricRows rows = example.rows();
    return MetricRows{rows.x.rows(at, count),
                      rows.x_hat.rows(at, count),
                      rows.row_starts.subspan(at, count + 1),
                      rows.features,
                      rows.values,
                      rows.documents.subspan(at, count),
                      rows.included.subspan(at, count)};
  };
  pieces.add(part(0, 7));
  pieces.add(part(7, 53));
  first.add(part(0, 20));
  second.add(part(20, 40));
  std::vector<std::uint64_t> words = first.packed();
  const std::vector<std::uint64_t> more = second.packed();
  words.insert(words.end(), more.begin(), more.end());
  together.add_packed(words);

  const MetricReport expected = report_of(whole, 20);
  for (const DocumentTable* other : {&pieces, &together}) {
    const MetricReport report = report_of(*other, 20);
    ASSERT_EQ(report.values.size(), expected.values.size());
    for (std::size_t i = 0; i < expected.values.size(); ++i) {
      EXPECT_EQ(report.values[i].value, expected.values[i].value) << expected.values[i].name;
      EXPECT_EQ(report.values[i].low, expected.values[i].low) << expected.values[i].name;
      EXPECT_EQ(report.values[i].high, expected.values[i].high) << expected.values[i].name;
    }
  }
}

TEST(Reconstruction, of_a_perfect_copy_explain_everything) {
  const Example example;
  MetricRows rows = example.rows();
  rows.x_hat = rows.x;

  const MetricReport report = report_of(table_of(rows), 10);

  for (const char* one : {"r2", "explained_variance", "r2_per_token", "r2_uniform", "r2_about_zero",
                          "r2_without_top5", "norm_ratio", "reconstruction_bias"})
    EXPECT_EQ(report.of(one).value, 1) << one;
  EXPECT_NEAR(report.of("cosine").value, 1, 1e-15);
  EXPECT_EQ(report.of("mse").value, 0);
}

TEST(Reconstruction, leave_sparsity_out_without_features) {
  const Example example;
  MetricRows rows = example.rows();
  rows.row_starts = {};
  rows.features = {};

  const MetricReport report = report_of(table_of(rows, 0), 10);

  EXPECT_NO_THROW((void)report.of("r2"));
  EXPECT_THROW((void)report.of("l0"), SystemError);
}

std::string refusal(const DocumentTable& table) {
  try {
    (void)report_of(table, 20, "SAE 'small'");
  } catch (const NumericalError& error) {
    return error.what();
  }
  return "";
}

TEST(Reconstruction, name_the_metric_and_the_sae_of_a_reconstruction_that_is_not_finite) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
    const Example example;
    MetricRows rows = example.rows();
    Tensor<float> x_hat(rows.x_hat.shape());
    std::ranges::copy(rows.x_hat.span(), x_hat.data());
    x_hat.row(7)[2] = bad;
    rows.x_hat = x_hat.cview();

    const std::string said = refusal(table_of(rows));

    EXPECT_TRUE(said.starts_with("SAE 'small': mse is ")) << said;
  }
}

TEST(Reconstruction, refuse_rows_that_do_not_vary_and_rows_that_are_all_excluded) {
  const Example example;
  MetricRows rows = example.rows();
  Tensor<float> same(rows.x.shape());
  std::ranges::fill(same.span(), 0.3F);
  rows.x = same.cview();
  const DocumentTable constant = table_of(rows);
  const std::vector<std::uint8_t> none(60, 0);
  rows.included = none;
  const DocumentTable empty = table_of(rows);

  EXPECT_NE(refusal(constant).find("r2 has no meaning"), std::string::npos) << refusal(constant);
  EXPECT_NE(refusal(empty).find("SAE 'small' has no held-out row"), std::string::npos);
}

// Document 1 alone has one row, which does not vary; together they do.
TEST(Reconstruction, leave_out_resamples_in_which_a_metric_has_no_meaning) {
  Tensor<float> x(Shape{3, 1}), x_hat(Shape{3, 1});
  std::ranges::copy(std::vector<float>{1, 2, 4}, x.data());
  std::ranges::copy(std::vector<float>{1, 2, 3}, x_hat.data());
  const std::vector<std::uint64_t> documents{1, 2, 2};
  const std::vector<std::uint8_t> included(3, 1);

  const MetricReport report =
      report_of(table_of({x.cview(), x_hat.cview(), {}, {}, {}, documents, included}, 0), 100);

  EXPECT_TRUE(std::isfinite(report.of("r2").low));
  EXPECT_TRUE(std::isfinite(report.of("r2").high));
}

// Each written out from its definition, over all included rows at once.
TEST(Reconstruction, names_every_convention_of_explained_variance) {
  const Example example;
  const std::vector<float> reference{5, 5, 5, 5};
  DocumentTable table(reference, 8);
  table.add(example.rows());

  const MetricReport report = report_of(table, 10);

  double n = 0, per_token = 0, about_zero = 0, x_x = 0, error[4] = {}, sum[4] = {}, square[4] = {};
  double ratio = 0, cosine = 0, hat_hat = 0, x_hat = 0;
  for (std::size_t row = 0; row < 60; ++row) {
    if (example.included[row] == 0) continue;
    double e = 0, c = 0, xx = 0, hh = 0, xh = 0;
    for (std::size_t d = 0; d < 4; ++d) {
      const double x = double(example.x.row(row)[d]), h = double(example.x_hat.row(row)[d]);
      e += (x - h) * (x - h);
      c += (x - 5) * (x - 5);
      xx += x * x;
      hh += h * h;
      xh += x * h;
      error[d] += (x - h) * (x - h);
      sum[d] += x;
      square[d] += x * x;
    }
    n += 1;
    per_token += 1 - e / c;
    about_zero += e;
    x_x += xx;
    hat_hat += hh;
    x_hat += xh;
    ratio += std::sqrt(hh / xx);
    cosine += xh / std::sqrt(xx * hh);
  }
  double uniform = 0, variance[4], largest = 0, left_error = 0, left = 0;
  for (std::size_t d = 0; d < 4; ++d) {
    variance[d] = square[d] - sum[d] * sum[d] / n;
    uniform += (1 - error[d] / variance[d]) / 4;
    largest = std::max(largest, variance[d]);
  }
  for (std::size_t d = 0; d < 4; ++d) {  // of four dimensions one is left out
    if (variance[d] == largest) continue;
    left_error += error[d];
    left += variance[d];
  }
  EXPECT_NEAR(report.of("r2_per_token").value, per_token / n, 1e-12);
  EXPECT_NEAR(report.of("r2_about_zero").value, 1 - about_zero / x_x, 1e-12);
  EXPECT_NEAR(report.of("r2_uniform").value, uniform, 1e-9);
  EXPECT_NEAR(report.of("r2_without_top5").value, 1 - left_error / left, 1e-9);
  EXPECT_NEAR(report.of("norm_ratio").value, ratio / n, 1e-12);
  EXPECT_NEAR(report.of("cosine").value, cosine / n, 1e-12);
  EXPECT_NEAR(report.of("reconstruction_bias").value, hat_hat / x_hat, 1e-12);
}

TEST(Reconstruction, counts_how_often_features_fire_and_how_strongly) {
  const Example example;

  const MetricReport report = report_of(table_of(example.rows()), 10);

  std::vector<double> fired(8, 0), mass(8, 0);
  std::size_t ones = 0;
  for (std::size_t row = 0; row < 60; ++row) {
    if (example.included[row] == 0) continue;
    ones += example.row_starts[row + 1] - example.row_starts[row] == 1;
    for (std::size_t j = example.row_starts[row]; j < example.row_starts[row + 1]; ++j) {
      fired[example.features[j]] += 1;
      mass[example.features[j]] += std::abs(double(example.values[j]));
    }
  }
  // Mean absolute difference over twice the mean: Gini's own definition.
  const auto gini = [](const std::vector<double>& of) {
    double differences = 0, sum = 0;
    for (const double a : of) {
      sum += a;
      for (const double b : of) differences += std::abs(a - b);
    }
    return differences / (2 * static_cast<double>(of.size()) * sum);
  };
  std::vector<double> alive;
  for (const double count : fired)
    if (count > 0) alive.push_back(count);
  const double dead = report.of("dead_rate").value;
  EXPECT_NEAR(report.of("gini").value, gini(fired), 1e-12);
  EXPECT_NEAR(report.of("gini_alive").value, gini(alive), 1e-12);
  EXPECT_NEAR(report.of("gini_mass").value, gini(mass), 1e-12);
  EXPECT_NEAR(report.of("gini").value, dead + (1 - dead) * report.of("gini_alive").value, 1e-12);
  EXPECT_NEAR(report.of("max_density").value, *std::max_element(fired.begin(), fired.end()) / 54,
              1e-12);
  EXPECT_EQ(report.of("l0_p05").value, 1);
  EXPECT_EQ(report.of("l0_p50").value, 2 * ones > 54 ? 1 : 2);
  EXPECT_EQ(report.of("l0_p95").value, 2);
}

TEST(Reconstruction, tells_rates_of_firing_only_from_enough_rows) {
  constexpr std::size_t kRows = 40000;
  Tensor<float> x(Shape{kRows, 1}), x_hat(Shape{kRows, 1});
  std::vector<std::uint64_t> row_starts{0}, documents;
  std::vector<std::uint32_t> features;
  for (std::size_t row = 0; row < kRows; ++row) {
    x.row(row)[0] = static_cast<float>(row % 3);
    if (row == 7) features.push_back(0);  // once: 2.5e-5
    features.push_back(1);
    row_starts.push_back(features.size());
    documents.push_back(row / 1000);
  }
  const std::vector<float> values(features.size(), 1);
  const std::vector<std::uint8_t> included(kRows, 1);

  const DocumentTable table =
      table_of({x.cview(), x_hat.cview(), row_starts, features, values, documents, included}, 3);
  const MetricReport report = report_of(table, 10);

  EXPECT_NEAR(report.of("rare_1e4").value, 2.0 / 3, 1e-12);
  EXPECT_EQ(report.find("rare_1e5"), nullptr);
  EXPECT_NEAR(report.of("dead_rate").value, 1.0 / 3, 1e-12);
  const DensityHistogram histogram = density_histogram(table);
  EXPECT_EQ(histogram.never, 1U);
  EXPECT_EQ(histogram.features.back(), 1U);
  EXPECT_EQ(histogram.features[static_cast<std::size_t>((8 + std::log10(2.5e-5)) * 4)], 1U);
}

TEST(Reconstruction, leaves_out_what_an_sae_that_never_fires_cannot_have) {
  const Example example;
  MetricRows rows = example.rows();
  const std::vector<std::uint64_t> none(61, 0);
  rows.row_starts = none;

  const MetricReport report = report_of(table_of(rows), 10);

  EXPECT_EQ(report.of("dead_rate").value, 1);
  EXPECT_EQ(report.of("l0").value, 0);
  EXPECT_EQ(report.find("gini"), nullptr);
}

// A replicate is a function of its number: whoever makes it, and whichever others are made with it.
TEST(Reconstruction, makes_bootstrap_samples_in_any_division) {
  const DocumentTable table = table_of(Example().rows());
  const std::vector<double> all = replicate_metrics(table, 5, {0, 12});
  std::vector<double> parts = replicate_metrics(table, 5, {0, 5});
  const std::vector<double> rest = replicate_metrics(table, 5, {5, 7});
  parts.insert(parts.end(), rest.begin(), rest.end());

  const MetricReport one = metric_report(table, "it", all), two = metric_report(table, "it", parts);
  for (std::size_t i = 0; i < one.values.size(); ++i) {
    EXPECT_EQ(one.values[i].low, two.values[i].low);
    EXPECT_EQ(one.values[i].high, two.values[i].high);
  }
}

}  // namespace
}  // namespace refract
