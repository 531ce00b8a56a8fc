#include "refract/analysis/nmf.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "refract/base/random.hpp"
#include "support/baselines_golden.hpp"

namespace refract {
namespace {

using test::golden;

double error_of(const Tensor<float>& x, const Tensor<float>& H, const Tensor<float>& W) {
  double sum = 0;
  for (std::size_t i = 0; i < x.axis(0); ++i)
    for (std::size_t d = 0; d < x.axis(1); ++d) {
      double is = 0;
      for (std::size_t j = 0; j < W.axis(0); ++j)
        is += static_cast<double>(H.row(i)[j]) * static_cast<double>(W.row(j)[d]);
      sum += std::pow(static_cast<double>(x.row(i)[d]) - is, 2);
    }
  return sum;
}

struct Fit {
  Tensor<float> H, W;
  std::vector<double> errors;  // as update_parts gives them
};
Fit fit(const Tensor<float>& x, Tensor<float> H, Tensor<float> W, Parts parts, int iterations) {
  const std::size_t r = W.axis(0), d = W.axis(1);
  const NmfRows rows(x.cview());
  Fit out{std::move(H), std::move(W), {}};
  Tensor<float> columns(Shape{d, r});
  for (int i = 0; i < iterations; ++i) {
    CodingDirections(out.W.cview()).pass(x.cview(), Codes::non_negative, out.H.view());
    const NmfSums sums = rows.sums(out.H.cview(), 0, r);
    double error = rows.squared_norm();
    for (const double of_column : update_parts(sums, out.W.cview(), parts, 0, columns.view()))
      error += of_column;
    for (std::size_t c = 0; c < d; ++c)
      for (std::size_t j = 0; j < r; ++j) out.W.row(j)[c] = columns.row(c)[j];
    out.errors.push_back(error);
  }
  return out;
}

// Signed rows of six parts in twelve dimensions, with noise.
Tensor<float> signed_rows(std::size_t n) {
  const CounterRng rng(Purpose::test, {8});
  constexpr std::size_t kParts = 6, kDim = 12;
  Tensor<float> x(Shape{n, kDim});
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t d = 0; d < kDim; ++d) {
      double sum = 0.1 * rng.normal(1'000'000 + i * kDim + d);
      for (std::size_t j = 0; j < kParts; ++j)
        sum += std::max(0.0, rng.normal(100'000 + i * kParts + j)) * rng.normal(j * kDim + d);
      x.row(i)[d] = static_cast<float>(sum);
    }
  return x;
}

Tensor<float> zeros(std::size_t n, std::size_t m) {
  Tensor<float> out(Shape{n, m});
  std::ranges::fill(out.span(), 0.0F);
  return out;
}

TEST(Nmf, takes_the_steps_of_scikit_learn_from_the_same_start) {
  const Tensor<float> x = golden("nmf.x");
  const double error = static_cast<double>(golden("nmf.error").data()[0]);

  const Fit fitted = fit(x, golden("nmf.h_init"), golden("nmf.w_init"), Parts::non_negative,
                         std::stoi(test::baselines_golden().metadata().at("iterations")));

  EXPECT_NEAR(error_of(x, fitted.H, fitted.W), error, 1e-4 * error);
  EXPECT_NEAR(fitted.errors.back(), error, 1e-6 * NmfRows(x.cview()).squared_norm());
  const Tensor<float> w = golden("nmf.w"), h = golden("nmf.h");
  for (std::size_t i = 0; i < w.size(); ++i) EXPECT_NEAR(fitted.W.data()[i], w.data()[i], 1e-4);
  for (std::size_t i = 0; i < h.size(); ++i) EXPECT_NEAR(fitted.H.data()[i], h.data()[i], 1e-4);
}

TEST(Nmf, codes_new_rows_as_non_negative_least_squares_does) {
  const Tensor<float> x = golden("nmf.x"), best = golden("nmf.codes");
  Tensor<float> codes(best.shape());

  CodingDirections(golden("nmf.w").cview())
      .solve(x.cview(), Codes::non_negative, codes.view(), {.most = 200, .enough = 1e-8});

  const double error = error_of(x, best, golden("nmf.w"));
  EXPECT_NEAR(error_of(x, codes, golden("nmf.w")), error, 1e-3 * error);
  for (std::size_t i = 0; i < best.size(); ++i)
    EXPECT_NEAR(codes.data()[i], best.data()[i], 0.02) << i;
}

TEST(Nmf, error_never_rises_and_is_that_of_the_parts) {
  const Tensor<float> x = signed_rows(300);
  for (const Parts parts : {Parts::of_any_sign, Parts::non_negative}) {
    const Tensor<float> rows = parts == Parts::of_any_sign
                                   ? joined_by_sign(split_by_sign(x.cview()).cview())
                                   : split_by_sign(x.cview());

    const Fit fitted = fit(rows, zeros(300, 8), initial_parts(rows.cview(), 8), parts, 25);

    for (std::size_t i = 1; i < fitted.errors.size(); ++i)
      EXPECT_LE(fitted.errors[i], fitted.errors[i - 1] * (1 + 1e-6)) << i;
    EXPECT_NEAR(fitted.errors.back(), error_of(rows, fitted.H, fitted.W),
                1e-4 * fitted.errors.back());
    EXPECT_LT(fitted.errors.back(), 0.8 * fitted.errors.front());
    EXPECT_GE(std::ranges::min(fitted.H.span()), 0);
    EXPECT_EQ(std::ranges::min(fitted.W.span()) < 0, parts == Parts::of_any_sign);
  }
}

// Ding, Li & Jordan 2010, equations 10 and 11, plainly and in fp64: W by least squares (its normal
// equations by elimination), H by their multiplicative rule.
std::vector<double> ding_errors(const Tensor<float>& x, const Tensor<float>& start,
                                int iterations) {
  const std::size_t n = x.axis(0), d = x.axis(1), r = start.axis(0);
  std::vector<double> W(start.data(), start.data() + start.size()), H(n * r, 0.5), errors;
  const auto at = [&](std::size_t i, std::size_t c) { return static_cast<double>(x.row(i)[c]); };
  for (int step = 0; step < iterations; ++step) {
    std::vector<double> ww(r * r);
    for (std::size_t a = 0; a < r; ++a)
      for (std::size_t b = 0; b < r; ++b)
        for (std::size_t c = 0; c < d; ++c) ww[a * r + b] += W[a * d + c] * W[b * d + c];
    for (std::size_t i = 0; i < n; ++i) {
      std::vector<double> h(H.begin() + static_cast<std::ptrdiff_t>(i * r),
                            H.begin() + static_cast<std::ptrdiff_t>((i + 1) * r));
      for (std::size_t j = 0; j < r; ++j) {
        double xw = 0, up = 0, down = 0;
        for (std::size_t c = 0; c < d; ++c) xw += at(i, c) * W[j * d + c];
        for (std::size_t l = 0; l < r; ++l) {
          up += h[l] * std::max(0.0, -ww[l * r + j]);
          down += h[l] * std::max(0.0, ww[l * r + j]);
        }
        H[i * r + j] *=
            std::sqrt((std::max(0.0, xw) + up + 1e-12) / (std::max(0.0, -xw) + down + 1e-12));
      }
    }
    std::vector<double> left(r * r), right(r * d);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t a = 0; a < r; ++a) {
        for (std::size_t b = 0; b < r; ++b) left[a * r + b] += H[i * r + a] * H[i * r + b];
        for (std::size_t c = 0; c < d; ++c) right[a * d + c] += H[i * r + a] * at(i, c);
      }
    for (std::size_t p = 0; p < r; ++p)
      for (std::size_t a = 0; a < r; ++a) {
        if (a == p) continue;
        const double factor = left[a * r + p] / left[p * r + p];
        for (std::size_t b = 0; b < r; ++b) left[a * r + b] -= factor * left[p * r + b];
        for (std::size_t c = 0; c < d; ++c) right[a * d + c] -= factor * right[p * d + c];
      }
    for (std::size_t a = 0; a < r; ++a)
      for (std::size_t c = 0; c < d; ++c) W[a * d + c] = right[a * d + c] / left[a * r + a];
    double error = 0;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t c = 0; c < d; ++c) {
        double is = 0;
        for (std::size_t j = 0; j < r; ++j) is += H[i * r + j] * W[j * d + c];
        error += std::pow(at(i, c) - is, 2);
      }
    errors.push_back(error);
  }
  return errors;
}

TEST(Nmf, of_any_sign_ends_no_worse_than_dings_updates_and_is_there_earlier) {
  const Tensor<float> x = signed_rows(300);
  const Tensor<float> start = initial_parts(x.cview(), 6);

  const std::vector<double> ding = ding_errors(x, start, 2000);
  const Fit fitted = fit(x, zeros(300, 6), initial_parts(x.cview(), 6), Parts::of_any_sign, 300);

  EXPECT_LT(fitted.errors.back(), 1.02 * ding.back());
  EXPECT_LT(fitted.errors[19], ding[19]);
}

TEST(Nmf, gives_the_same_bytes_however_rows_components_and_columns_are_divided) {
  const Tensor<float> x = signed_rows(5000);  // more than one block of rows
  const Tensor<float> W = initial_parts(x.cview(), 7);
  const CodingDirections coding(W.cview());
  Tensor<float> H = zeros(5000, 7), parts_of_h = zeros(5000, 7);

  coding.pass(x.cview(), Codes::non_negative, H.view());
  for (const auto& [first, count] : {std::pair{0, 1}, {1, 1700}, {1701, 3299}}) {
    const auto from = static_cast<std::size_t>(first), rows = static_cast<std::size_t>(count);
    coding.pass(x.cview().rows(from, rows), Codes::non_negative,
                parts_of_h.view().rows(from, rows));
  }
  ASSERT_TRUE(std::ranges::equal(H.span(), parts_of_h.span()));

  const NmfRows rows(x.cview());
  const NmfSums all = rows.sums(H.cview(), 0, 7), low = rows.sums(H.cview(), 0, 3),
                high = rows.sums(H.cview(), 3, 4);
  std::vector<double> hh(low.hh), hx(low.hx);
  hh.insert(hh.end(), high.hh.begin(), high.hh.end());
  hx.insert(hx.end(), high.hx.begin(), high.hx.end());
  EXPECT_EQ(all.hh, hh);
  EXPECT_EQ(all.hx, hx);

  Tensor<float> columns(Shape{12, 7}), some(Shape{5, 7});
  const std::vector<double> errors =
      update_parts(all, W.cview(), Parts::of_any_sign, 0, columns.view());
  const std::vector<double> of_some =
      update_parts(all, W.cview(), Parts::of_any_sign, 4, some.view());
  EXPECT_TRUE(std::ranges::equal(columns.view().rows(4, 5).span(), some.span()));
  EXPECT_TRUE(std::equal(of_some.begin(), of_some.end(), errors.begin() + 4));
}

TEST(Nmf, splitting_by_sign_is_undone_by_joining) {
  const Tensor<float> x = signed_rows(10);

  const Tensor<float> split = split_by_sign(x.cview());

  EXPECT_GE(std::ranges::min(split.span()), 0);
  EXPECT_TRUE(std::ranges::equal(joined_by_sign(split.cview()).span(), x.span()));
}

TEST(Refit, makes_codes_on_a_few_directions_the_best_there) {
  const Tensor<float> V = signed_rows(9);
  const CodingDirections coding(V.cview());
  const Tensor<float> x = signed_rows(20);
  const std::vector<std::uint32_t> chosen{1, 4, 7};
  std::vector<float> along, values{0, 0, 0};
  for (const std::uint32_t j : chosen) {
    double sum = 0;
    for (std::size_t d = 0; d < 12; ++d) sum += double(x.row(15)[d]) * double(V.row(j)[d]);
    along.push_back(static_cast<float>(sum));
  }
  RefitScratch scratch;

  refit(coding.gram(), Codes::of_any_sign, chosen, along, values, scratch);

  // What is left is orthogonal to all of them.
  for (const std::uint32_t j : chosen) {
    double left = 0;
    for (std::size_t d = 0; d < 12; ++d) {
      double is = 0;
      for (std::size_t a = 0; a < 3; ++a) is += double(values[a]) * double(V.row(chosen[a])[d]);
      left += (double(x.row(15)[d]) - is) * double(V.row(j)[d]);
    }
    EXPECT_LT(left * left, 1e-3 * double(along[0]) * double(along[0]));
  }
  refit(coding.gram(), Codes::non_negative, chosen, along, values, scratch);
  EXPECT_GE(std::ranges::min(values), 0);
}

}  // namespace
}  // namespace refract
