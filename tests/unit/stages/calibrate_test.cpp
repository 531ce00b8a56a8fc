#include "refract/stages/calibrate.hpp"

#include <gtest/gtest.h>

#include "refract/base/error.hpp"

namespace refract {
namespace {

constexpr const char* kHook = "blocks.2.hook_attn_out";

HookCalibration measured(const std::vector<float>& x, const std::vector<std::uint8_t>& special) {
  const std::size_t n = special.size();
  Tensor<float> taken(Shape{n, x.size() / n});
  std::ranges::copy(x, taken.data());
  Communicator alone = Communicator::loopback();
  return collective_measure(kHook, std::move(taken), special, std::vector<std::size_t>{n}, 10,
                            alone);
}

std::string refusal(const std::vector<float>& x) {
  try {
    (void)measured(x, std::vector<std::uint8_t>(x.size() / 3, 0));
  } catch (const NumericalError& error) {
    return error.what();
  }
  return "";
}

TEST(Measure, takes_the_included_rows_alone) {
  const std::vector<float> x{3, 4, 0, 5, 1e4F, 0, 5, 0};
  const std::vector<std::uint8_t> special{0, 0, 0, 1};

  const HookCalibration found = measured(x, special);

  EXPECT_EQ(found.hook, kHook);
  EXPECT_EQ(found.rows, 2U);  // row 2 is a sink, row 3 special
  EXPECT_EQ(found.median_norm, 5);
  EXPECT_EQ(found.sink_threshold, 50);
  EXPECT_EQ(found.mean_norm, 5);
  EXPECT_EQ(found.mean, (std::vector<float>{1.5F, 4.5F}));
  EXPECT_NEAR(found.covariance[0], 2.25, 1e-12);
  EXPECT_EQ(found.int8_scales, (std::vector<float>{3.0F / 127.0F, 5.0F / 127.0F}));
}

TEST(Measure, names_a_hook_that_is_zero_in_every_row) {
  const std::string said = refusal(std::vector<float>(27, 0.0F));

  EXPECT_TRUE(said.starts_with("blocks.2.hook_attn_out is zero in every one of 9")) << said;
}

TEST(Measure, names_a_hook_that_never_varies) {
  std::vector<float> x(27, 0.7F);
  EXPECT_TRUE(refusal(x).starts_with(
      "blocks.2.hook_attn_out varies by less than a millionth of its size over 9"))
      << refusal(x);
  x[4] = 0.8F;
  EXPECT_EQ(refusal(x), "");
}

TEST(Measure, refuses_a_sample_without_an_ordinary_row) {
  EXPECT_THROW((void)measured({1, 2, 3}, {1}), DataError);
}

}  // namespace
}  // namespace refract
