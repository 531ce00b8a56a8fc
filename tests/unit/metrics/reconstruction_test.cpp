#include "refract/metrics/reconstruction.hpp"

#include <gtest/gtest.h>

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
      row_starts.push_back(features.size());
      documents.push_back(row / 20);
      included.push_back(row % 10 == 9 ? 0 : 1);
    }
  }
  [[nodiscard]] MetricRows rows() const {
    return {x.cview(), x_hat.cview(), row_starts, features, documents, included};
  }
};

TEST(ReconstructionSums, equal_the_definitions_written_out) {
  const Example example;
  ReconstructionSums sums(4, 8);
  sums.add(example.rows());

  const MetricReport report = sums.report("the example", 1, 50);

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
  EXPECT_EQ(report.values.size(), metric_table().size());
  EXPECT_THROW((void)report.of("r3"), SystemError);
}

TEST(ReconstructionSums, intervals_hold_the_value) {
  const Example example;
  ReconstructionSums sums(4, 8);
  sums.add(example.rows());

  for (const MetricValue& value : sums.report("the example", 1).values) {
    EXPECT_LE(value.low, value.value) << value.name;
    EXPECT_GE(value.high, value.value) << value.name;
  }
}

TEST(ReconstructionSums, do_not_depend_on_how_rows_are_cut) {
  const Example example;
  ReconstructionSums whole(4, 8), pieces(4, 8), first(4, 8), second(4, 8), together(4, 8);
  whole.add(example.rows());
  const auto part = [&](std::size_t at, std::size_t count) {
    MetricRows rows = example.rows();
    return MetricRows{rows.x.rows(at, count),
                      rows.x_hat.rows(at, count),
                      rows.row_starts.subspan(at, count + 1),
                      rows.features,
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

  for (const ReconstructionSums* other : {&pieces, &together})
    for (std::size_t i = 0; i < metric_table().size(); ++i) {
      EXPECT_EQ(whole.report("the example", 1, 20).values[i].value,
                other->report("the example", 1, 20).values[i].value);
      EXPECT_EQ(whole.report("the example", 1, 20).values[i].low,
                other->report("the example", 1, 20).values[i].low);
    }
}

TEST(ReconstructionSums, of_a_perfect_copy_explain_everything) {
  const Example example;
  MetricRows rows = example.rows();
  rows.x_hat = rows.x;
  ReconstructionSums sums(4, 8);
  sums.add(rows);

  EXPECT_EQ(sums.report("the example", 1, 10).of("r2").value, 1);
  EXPECT_EQ(sums.report("the example", 1, 10).of("mse").value, 0);
}

TEST(ReconstructionSums, leave_sparsity_out_without_features) {
  const Example example;
  MetricRows rows = example.rows();
  rows.row_starts = {};
  rows.features = {};
  ReconstructionSums sums(4, 0);
  sums.add(rows);

  const MetricReport report = sums.report("the example", 1, 10);

  EXPECT_NO_THROW((void)report.of("r2"));
  EXPECT_THROW((void)report.of("l0"), SystemError);
}

std::string refusal(const ReconstructionSums& sums) {
  try {
    (void)sums.report("SAE 'small'", 1, 20);
  } catch (const NumericalError& error) {
    return error.what();
  }
  return "";
}

TEST(ReconstructionSums, name_the_metric_and_the_sae_of_a_reconstruction_that_is_not_finite) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
    const Example example;
    MetricRows rows = example.rows();
    Tensor<float> x_hat(rows.x_hat.shape());
    std::ranges::copy(rows.x_hat.span(), x_hat.data());
    x_hat.row(7)[2] = bad;
    rows.x_hat = x_hat.cview();
    ReconstructionSums sums(4, 8);
    sums.add(rows);

    EXPECT_TRUE(refusal(sums).starts_with("SAE 'small': mse is ")) << refusal(sums);
  }
}

TEST(ReconstructionSums, refuse_rows_that_do_not_vary_and_rows_that_are_all_excluded) {
  const Example example;
  MetricRows rows = example.rows();
  Tensor<float> same(rows.x.shape());
  std::ranges::fill(same.span(), 0.3F);
  rows.x = same.cview();
  ReconstructionSums constant(4, 8);
  constant.add(rows);
  const std::vector<std::uint8_t> none(60, 0);
  rows.included = none;
  ReconstructionSums empty(4, 8);
  empty.add(rows);

  EXPECT_NE(refusal(constant).find("r2 has no meaning"), std::string::npos) << refusal(constant);
  EXPECT_NE(refusal(empty).find("SAE 'small' has no held-out row"), std::string::npos);
}

// Document 1 alone has one row, which does not vary; together they do.
TEST(ReconstructionSums, leave_out_resamples_in_which_a_metric_has_no_meaning) {
  Tensor<float> x(Shape{3, 1}), x_hat(Shape{3, 1});
  std::ranges::copy(std::vector<float>{1, 2, 4}, x.data());
  std::ranges::copy(std::vector<float>{1, 2, 3}, x_hat.data());
  const std::vector<std::uint64_t> documents{1, 2, 2};
  const std::vector<std::uint8_t> included(3, 1);
  ReconstructionSums sums(1, 0);
  sums.add({x.cview(), x_hat.cview(), {}, {}, documents, included});

  const MetricReport report = sums.report("rows", 1, 100);

  EXPECT_TRUE(std::isfinite(report.of("r2").low));
  EXPECT_TRUE(std::isfinite(report.of("r2").high));
}

}  // namespace
}  // namespace refract
