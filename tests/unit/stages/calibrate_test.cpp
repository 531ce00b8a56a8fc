#include "refract/stages/calibrate.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "refract/base/error.hpp"
#include "refract/base/random.hpp"

namespace refract {
namespace {

constexpr const char* kHook = "blocks.2.hook_attn_out";

Tensor<float> rows(std::size_t n, std::size_t d) {
  Tensor<float> x(Shape{n, d});
  const CounterRng rng(Purpose::test, {5});
  for (std::size_t i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(rng.normal(i));
  return x;
}

std::string refusal(const Tensor<float>& x) {
  try {
    (void)measure_hook(kHook, x.cview(), std::vector<std::uint8_t>(x.axis(0), 0), 10);
  } catch (const NumericalError& error) {
    return error.what();
  }
  return "";
}

TEST(MeasureHook, measures_the_included_rows_alone) {
  Tensor<float> x(Shape{4, 2});
  std::ranges::copy(std::vector<float>{3, 4, 0, 5, 1e4F, 0, 5, 0}, x.data());
  const std::vector<std::uint8_t> special{0, 0, 0, 1};

  const HookCalibration found = measure_hook(kHook, x.cview(), special, 10);

  EXPECT_EQ(found.hook, kHook);
  EXPECT_EQ(found.rows, 2U);  // row 2 is a sink, row 3 special
  EXPECT_EQ(found.median_norm, 5);
  EXPECT_EQ(found.sink_threshold, 50);
  EXPECT_EQ(found.mean_norm, 5);
  EXPECT_EQ(found.mean, (std::vector<float>{1.5F, 4.5F}));
  EXPECT_NEAR(found.covariance[0], 2.25, 1e-12);
}

TEST(MeasureHook, names_a_hook_that_is_zero_in_every_row) {
  const Tensor<float> x(Shape{9, 3});

  EXPECT_TRUE(refusal(x).starts_with("blocks.2.hook_attn_out is zero in every one of 9"))
      << refusal(x);
}

TEST(MeasureHook, names_a_hook_that_never_varies) {
  Tensor<float> x(Shape{9, 3});
  std::ranges::fill(x.span(), 0.7F);
  EXPECT_TRUE(refusal(x).starts_with(
      "blocks.2.hook_attn_out varies by less than a millionth of its size over 9"))
      << refusal(x);
  x.data()[4] = 0.8F;
  EXPECT_EQ(refusal(x), "");
}

TEST(MeasureHook, names_the_place_of_a_value_that_is_not_finite) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    Tensor<float> x = rows(20, 3);
    EXPECT_EQ(refusal(x), "");
    x.row(17)[2] = bad;
    EXPECT_NE(refusal(x).find("in column 2 of calibration row 17"), std::string::npos);
  }
}

}  // namespace
}  // namespace refract
