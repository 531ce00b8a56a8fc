#include "refract/analysis/ica.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "refract/base/error.hpp"
#include "refract/base/random.hpp"
#include "support/baselines_golden.hpp"

namespace refract {
namespace {

using test::golden;

struct Centred {
  Tensor<float> rows;
  std::vector<double> covariance;
};
Centred centred(const Tensor<float>& x) {
  const std::size_t n = x.axis(0), d = x.axis(1);
  std::vector<double> mean(d);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < d; ++j)
      mean[j] += static_cast<double>(x.row(i)[j]) / static_cast<double>(n);
  Centred out{Tensor<float>(x.shape()), std::vector<double>(d * d)};
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < d; ++j)
      out.rows.row(i)[j] = static_cast<float>(static_cast<double>(x.row(i)[j]) - mean[j]);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t a = 0; a < d; ++a)
      for (std::size_t b = 0; b < d; ++b)
        out.covariance[a * d + b] += (static_cast<double>(x.row(i)[a]) - mean[a]) *
                                     (static_cast<double>(x.row(i)[b]) - mean[b]) /
                                     static_cast<double>(n);
  return out;
}

double product(const Tensor<float>& a, std::size_t i, const Tensor<float>& b, std::size_t j) {
  double sum = 0;
  for (std::size_t d = 0; d < a.axis(1); ++d)
    sum += static_cast<double>(a.row(i)[d]) * static_cast<double>(b.row(j)[d]);
  return sum;
}

// x K^T, plainly.
Tensor<float> times(const Tensor<float>& x, const Tensor<float>& K) {
  Tensor<float> out(Shape{x.axis(0), K.axis(0)});
  for (std::size_t i = 0; i < x.axis(0); ++i)
    for (std::size_t j = 0; j < K.axis(0); ++j)
      out.row(i)[j] = static_cast<float>(product(x, i, K, j));
  return out;
}

struct Fit {
  Tensor<float> W;
  std::uint64_t iterations = 0;
  bool converged = false;
};
Fit fit(const IcaRows& rows, Tensor<float> W) {
  Fit out{std::move(W)};
  Tensor<float> next(out.W.shape());
  while (out.iterations < kIcaIterations && !out.converged) {
    rows.update(out.W.cview(), 0, next.view());
    Tensor<float> together = decorrelated(next.cview());
    out.converged = turned(together.cview(), out.W.cview()) < kIcaTolerance;
    out.W = std::move(together);
    ++out.iterations;
  }
  return out;
}

TEST(Ica, takes_the_steps_of_scikit_learn_from_the_same_start) {
  const Centred x = centred(golden("ica.x"));
  const IcaWhitening white = whitening_of(principal_components(x.covariance, 6, 6));
  const IcaRows rows(times(x.rows, white.to_white).cview());
  const Tensor<float> unmixing = golden("ica.unmixing");

  const Fit fitted = fit(rows, decorrelated(golden("ica.w_init").cview()));

  EXPECT_TRUE(fitted.converged);
  EXPECT_EQ(static_cast<float>(fitted.iterations), golden("ica.iterations").data()[0]);
  for (std::size_t j = 0; j < 6; ++j)
    for (std::size_t d = 0; d < 6; ++d)
      EXPECT_NEAR(fitted.W.row(j)[d], unmixing.row(j)[d], 1e-4) << j << ' ' << d;
}

// From a start of its own scikit-learn finds the same mixture, in another order and sign.
TEST(Ica, finds_the_mixture_that_scikit_learn_finds_from_anywhere) {
  const Centred x = centred(golden("ica.x"));
  const IcaWhitening white = whitening_of(principal_components(x.covariance, 6, 6));
  const IcaRows rows(times(x.rows, white.to_white).cview());
  const Tensor<float> mixing = golden("ica.mixing");

  const Fit fitted = fit(rows, initial_unmixing(6, 3));

  ASSERT_TRUE(fitted.converged);
  std::vector<std::size_t> found;
  for (std::size_t j = 0; j < 6; ++j) {
    Tensor<float> ours(Shape{1, 6});
    for (std::size_t d = 0; d < 6; ++d) {
      double sum = 0;
      for (std::size_t i = 0; i < 6; ++i)
        sum += static_cast<double>(fitted.W.row(j)[i]) *
               static_cast<double>(white.from_white.row(i)[d]);
      ours.row(0)[d] = static_cast<float>(sum);
    }
    std::size_t best = 0;
    double cosine = 0;
    for (std::size_t i = 0; i < 6; ++i) {
      const double c = std::abs(product(ours, 0, mixing, i)) /
                       std::sqrt(product(ours, 0, ours, 0) * product(mixing, i, mixing, i));
      if (c > cosine) cosine = c, best = i;
    }
    EXPECT_GT(cosine, 0.9999);
    EXPECT_NEAR(product(ours, 0, ours, 0) / product(mixing, best, mixing, best), 1, 5e-3)
        << "sources have variance 1";
    found.push_back(best);
  }
  std::ranges::sort(found);
  EXPECT_EQ(found, (std::vector<std::size_t>{0, 1, 2, 3, 4, 5}));
}

TEST(Ica, gives_a_component_the_same_bytes_however_components_are_divided) {
  const CounterRng rng(Purpose::test, {4});
  Tensor<float> z(Shape{5000, 13});  // more than one block of rows
  for (std::size_t i = 0; i < z.size(); ++i) z.data()[i] = static_cast<float>(rng.normal(i));
  const IcaRows rows(z.cview());
  const Tensor<float> W = initial_unmixing(13, 1);
  Tensor<float> whole(W.shape()), parts(W.shape());

  rows.update(W.cview(), 0, whole.view());
  rows.update(W.cview(), 0, parts.view().rows(0, 5));
  rows.update(W.cview(), 5, parts.view().rows(5, 1));
  rows.update(W.cview(), 6, parts.view().rows(6, 7));

  EXPECT_TRUE(std::ranges::equal(whole.span(), parts.span()));
}

// In fp64, with the library's tanh.
TEST(Ica, update_is_the_formula_of_its_header) {
  const CounterRng rng(Purpose::test, {5});
  constexpr std::size_t kRows = 4500, kDim = 3;
  Tensor<float> z(Shape{kRows, kDim});
  for (std::size_t i = 0; i < z.size(); ++i) z.data()[i] = static_cast<float>(4 * rng.normal(i));
  const Tensor<float> W = initial_unmixing(kDim, 2);
  Tensor<float> next(W.shape());

  IcaRows(z.cview()).update(W.cview(), 0, next.view());

  for (std::size_t j = 0; j < kDim; ++j) {
    double along[kDim] = {}, slope = 0;
    for (std::size_t i = 0; i < kRows; ++i) {
      const double t = std::tanh(product(z, i, W, j));
      for (std::size_t d = 0; d < kDim; ++d) along[d] += t * static_cast<double>(z.row(i)[d]);
      slope += 1 - t * t;
    }
    for (std::size_t d = 0; d < kDim; ++d)
      EXPECT_NEAR(next.row(j)[d], (along[d] - slope * double(W.row(j)[d])) / double(kRows), 5e-6);
  }
}

TEST(Ica, decorrelation_gives_the_nearest_orthogonal_matrix) {
  // A rotation times a symmetric positive matrix of condition 10^4: the rotation is nearest.
  constexpr std::size_t kDim = 20;
  const Tensor<float> rotation = initial_unmixing(kDim, 6), axes = initial_unmixing(kDim, 7);
  Tensor<float> W(rotation.shape());
  for (std::size_t i = 0; i < kDim; ++i)
    for (std::size_t j = 0; j < kDim; ++j) {
      double sum = 0;
      for (std::size_t a = 0; a < kDim; ++a)
        for (std::size_t m = 0; m < kDim; ++m)
          sum += std::pow(10.0, -2.0 * double(a) / double(kDim - 1)) * double(axes.row(a)[i]) *
                 double(axes.row(a)[m]) * double(rotation.row(m)[j]);
      W.row(i)[j] = static_cast<float>(sum);
    }

  const Tensor<float> nearest = decorrelated(W.cview());

  for (std::size_t i = 0; i < W.size(); ++i)
    EXPECT_NEAR(nearest.data()[i], rotation.data()[i], 2e-5);
}

TEST(Ica, decorrelation_refuses_rows_that_depend_on_each_other) {
  Tensor<float> W = initial_unmixing(4, 1);
  std::ranges::copy(W.row(0), W.row(1).begin());

  EXPECT_THROW((void)decorrelated(W.cview()), NumericalError);
}

TEST(Whitening, leaves_out_directions_without_variance) {
  std::vector<double> covariance(9);
  covariance[0] = 4;
  covariance[4] = 1;
  covariance[8] = 1e-7;  // of the largest: less than the floor

  const IcaWhitening white = whitening_of(principal_components(covariance, 3, 3));

  ASSERT_EQ(white.to_white.axis(0), 2U);
  EXPECT_FLOAT_EQ(white.to_white.row(0)[0], 0.5F);
  EXPECT_FLOAT_EQ(white.from_white.row(0)[0], 2);
}

TEST(Whitening, of_rows_that_never_change_is_an_error) {
  EXPECT_THROW((void)whitening_of(principal_components(std::vector<double>(4), 2, 2)),
               NumericalError);
}

}  // namespace
}  // namespace refract
