#include "refract/metrics/isotropy.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "refract/base/error.hpp"
#include "refract/base/random.hpp"
#include "refract/metrics/moments.hpp"
#include "refract/metrics/power_moments.hpp"
#include "refract/tensor/dot.hpp"
#include "support/statistics_golden.hpp"

namespace refract {
namespace {

using test::expect_all_near;

std::vector<double> covariance_of_rows(TensorView<const float> x) {
  const std::size_t d = x.axis(1);
  std::vector<double> out(d * d, 0.0);
  const std::vector<double> mean = PowerMoments::of(x).mean();
  for (std::size_t r = 0; r < x.axis(0); ++r)
    for (std::size_t i = 0; i < d; ++i)
      for (std::size_t j = 0; j < d; ++j)
        out[i * d + j] += (static_cast<double>(x.row(r)[i]) - mean[i]) *
                          (static_cast<double>(x.row(r)[j]) - mean[j]) /
                          static_cast<double>(x.axis(0));
  return out;
}

// Rows with standard deviation scale[j] along axis j.
Tensor<float> normal_rows(std::size_t n, const std::vector<double>& scale) {
  const CounterRng rng(Purpose::test, {n, scale.size()});
  Tensor<float> x(Shape{n, scale.size()});
  for (std::size_t i = 0; i < x.size(); ++i)
    x.data()[i] = static_cast<float>(scale[i % scale.size()] * rng.normal(i));
  return x;
}

SpectrumShape shape_of(TensorView<const float> x) {
  return spectrum_shape(eigenvalues(covariance_of_rows(x), x.axis(1))).value();
}

TEST(Isotropy, is_that_of_numpy_and_of_the_published_package) {
  const test::Golden golden = test::statistics_golden();
  const nlohmann::json& raw = golden.json["raw"];

  const std::vector<double> values =
      eigenvalues(covariance_of_rows(golden.x.cview()), golden.x.axis(1));
  const SpectrumShape shape = spectrum_shape(values).value();

  expect_all_near(values, raw["eigenvalues"], 1e-12);
  EXPECT_NEAR(shape.participation_ratio, raw["participation_ratio"], 1e-12);
  EXPECT_NEAR(shape.effective_rank, raw["effective_rank"], 1e-12);
  EXPECT_NEAR(shape.condition_number.value(), raw["condition_number"], 1e-9);
  EXPECT_NEAR(shape.isoscore.value(), raw["isoscore"], 1e-6) << "the package rounds to fp32";
}

TEST(Isotropy, of_the_identity_is_whole_and_of_one_direction_none) {
  constexpr std::size_t kD = 7;
  std::vector<double> even(kD, 2.5), line(kD, 0.0);
  line[0] = 9;

  const SpectrumShape of_even = spectrum_shape(even).value();
  const SpectrumShape of_line = spectrum_shape(line).value();

  EXPECT_NEAR(of_even.participation_ratio, kD, 1e-12);
  EXPECT_NEAR(of_even.effective_rank, kD, 1e-12);
  EXPECT_NEAR(of_even.isoscore.value(), 1, 1e-12);
  EXPECT_EQ(of_even.condition_number, 1);
  EXPECT_NEAR(of_line.participation_ratio, 1, 1e-12);
  EXPECT_NEAR(of_line.effective_rank, 1, 1e-12);
  EXPECT_NEAR(of_line.isoscore.value(), 0, 1e-12);
  EXPECT_FALSE(of_line.condition_number);
}

TEST(Isotropy, has_no_value_where_rows_do_not_vary_nor_an_isoscore_in_one_dimension) {
  EXPECT_FALSE(spectrum_shape(std::vector<double>(4, 0.0)));
  EXPECT_FALSE(spectrum_shape({}));
  EXPECT_FALSE(spectrum_shape(std::vector<double>{3}).value().isoscore);
}

TEST(IsoScore, is_the_participation_ratio_brought_to_between_0_and_1) {
  const CounterRng rng(Purpose::test, {11});
  for (const std::size_t d : {2u, 3u, 64u, 500u}) {
    std::vector<double> variances(d);
    for (std::size_t i = 0; i < d; ++i) variances[i] = std::exp(4 * rng.normal(1000 * d + i));

    const double ratio = spectrum_shape(variances).value().participation_ratio;

    EXPECT_NEAR(isoscore(variances), (ratio - 1) / static_cast<double>(d - 1), 1e-12) << d;
  }
}

TEST(IsoScore, is_near_one_for_a_ball_and_near_zero_for_a_needle) {
  std::vector<double> needle(20, 1.0);
  needle[3] = 100;

  EXPECT_GT(shape_of(normal_rows(4000, std::vector<double>(20, 3.0)).cview()).isoscore, 0.99);
  EXPECT_LT(shape_of(normal_rows(4000, needle).cview()).isoscore, 0.001);
}

TEST(MeanCosine, is_that_of_all_pairs) {
  const test::Golden golden = test::statistics_golden();
  const std::size_t d = golden.x.axis(1);
  DirectionSum one(d), parts(d);

  one.add(golden.x.cview());
  parts.add(golden.x.cview().rows(0, 20));
  DirectionSum rest(d);
  rest.add(golden.x.cview().rows(20, 30));
  parts.add(rest);

  EXPECT_NEAR(mean_cosine(one).value(), golden.json["mean_cosine"], 1e-12);
  EXPECT_NEAR(mean_cosine(parts).value(), golden.json["mean_cosine"], 1e-12);
}

TEST(MeanCosine, leaves_out_rows_of_zeros_and_needs_two_others) {
  Tensor<float> x(Shape{3, 2});
  std::ranges::copy(std::initializer_list<float>{3, 4, 0, 0, -4, 3}, x.span().begin());
  DirectionSum two(2), one(2);

  two.add(x.cview());
  one.add(x.cview().rows(0, 2));

  EXPECT_EQ(two.rows, 2);
  EXPECT_NEAR(mean_cosine(two).value(), 0, 1e-15);
  EXPECT_FALSE(mean_cosine(one));
}

TEST(Whitening, is_scikit_learns) {
  const test::Golden golden = test::statistics_golden();
  const nlohmann::json& expected = golden.json["whitened_by_half"];
  const TensorView<const float> half = golden.x.cview().rows(0, golden.x.axis(0) / 2);

  const Whitening whitening = whitening_of(covariance_of_rows(half), golden.x.axis(1), 1e-6);
  const std::vector<double> values = eigenvalues(
      whitened_covariance(whitening.W, covariance_of_rows(golden.x.cview())), golden.x.axis(1));

  EXPECT_EQ(whitening.floored, 0u);
  expect_all_near(values, expected["eigenvalues"], 1e-5);
  EXPECT_NEAR(spectrum_shape(values).value().isoscore.value(), expected["isoscore"], 1e-5);
}

TEST(Whitening, of_the_rows_it_was_made_from_makes_their_spread_even) {
  const Tensor<float> x = normal_rows(500, {100, 10, 1, 0.5, 3});
  const std::vector<double> covariance = covariance_of_rows(x.cview());

  const std::vector<double> white =
      whitened_covariance(whitening_of(covariance, 5, 1e-6).W, covariance);

  for (std::size_t i = 0; i < 5; ++i)
    for (std::size_t j = 0; j < 5; ++j) EXPECT_NEAR(white[i * 5 + j], i == j ? 1 : 0, 1e-4);
}

TEST(Whitening, raises_no_direction_above_its_floor) {
  // Variances 4, 1, 1e-9: the last is under a thousandth of the first.
  const std::vector<double> covariance{1, 0, 0, 0, 1e-9, 0, 0, 0, 4};

  const Whitening whitening = whitening_of(covariance, 3, 1e-3);

  EXPECT_EQ(whitening.floored, 1u);
  EXPECT_DOUBLE_EQ(whitening.floor, 4e-3);
  EXPECT_NEAR(norm_of(whitening.W.row(0)), 0.5, 1e-6) << "the largest comes first";
  EXPECT_NEAR(norm_of(whitening.W.row(1)), 1, 1e-6);
  EXPECT_NEAR(norm_of(whitening.W.row(2)), 1 / std::sqrt(4e-3), 1e-4);
}

// Symmetric, and so the whitening that turns rows least; its inverse is one within fp32, floored
// directions included.
TEST(Whitening, of_zca_makes_the_spread_even_and_is_undone) {
  const Tensor<float> x = normal_rows(500, {100, 10, 1, 0.5, 3, 1e-4, 2, 2, 7});
  constexpr std::size_t d = 9;
  const std::vector<double> covariance = covariance_of_rows(x.cview());

  const ZcaWhitening zca = zca_whitening_of(covariance, d, 1e-6);

  const std::vector<double> white = whitened_covariance(zca.W, covariance);
  EXPECT_GT(zca.floor, 1e-3);
  for (std::size_t i = 0; i < d; ++i)
    for (std::size_t j = 0; j < d; ++j) {
      EXPECT_EQ(zca.W.row(i)[j], zca.W.row(j)[i]);
      EXPECT_EQ(zca.inverse.row(i)[j], zca.inverse.row(j)[i]);
      if (i != 5 && j != 5) {
        EXPECT_NEAR(white[i * d + j], i == j ? 1 : 0, 1e-3);
      }
      double product = 0;
      for (std::size_t k = 0; k < d; ++k)
        product +=
            static_cast<double>(zca.W.row(i)[k]) * static_cast<double>(zca.inverse.row(k)[j]);
      EXPECT_NEAR(product, i == j ? 1 : 0, 1e-4);
    }
}

TEST(Whitening, refuses_a_covariance_of_nothing) {
  EXPECT_THROW((void)zca_whitening_of(std::vector<double>(9, 0.0), 3, 1e-6), NumericalError);
  EXPECT_THROW((void)whitening_of(std::vector<double>(9, 0.0), 3, 1e-6), NumericalError);
}

// Refused before the matrix is read, so that none of 16 GiB is needed.
TEST(Eigenvalues, of_more_dimensions_than_lapack_counts_are_refused) {
  constexpr std::size_t kLarge = 46'341;
  const double first = 0;

  EXPECT_THROW((void)eigenvalues({&first, kLarge * kLarge}, kLarge), ConfigError);
  EXPECT_THROW((void)whitening_of({&first, kLarge * kLarge}, kLarge, 1e-6), ConfigError);
}

TEST(Components, are_as_many_as_hold_the_share) {
  const std::vector<double> values{6, 3, 1};

  EXPECT_EQ(components_for(values, 0.5), 1u);
  EXPECT_EQ(components_for(values, 0.9), 2u);
  EXPECT_EQ(components_for(values, 0.99), 3u);
}

}  // namespace
}  // namespace refract
