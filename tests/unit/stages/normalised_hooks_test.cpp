#include "refract/stages/normalised_hooks.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "refract/base/error.hpp"
#include "support/two_hooks.hpp"

namespace refract {
namespace {

const std::string kWide = "blocks.1.ln2.hook_normalized", kNarrow = "blocks.0.hook_mlp_out";
constexpr std::size_t kRows = test::kTwoHooksRows;

// Scales under sqrt_d: sqrt(4) / 8 of the wide hook, sqrt(2) / sqrt(8) of the narrow one.
CalibrationData calibration() {
  return {{{.hook = kNarrow,
            .d_in = 2,
            .mean_norm = std::sqrt(8.0),
            .mean = {2, 4},
            .geometric_median = {6, 8},
            .covariance = {},
            .int8_scales = {}},
           {.hook = kWide,
            .d_in = 4,
            .mean_norm = 8,
            .mean = {4, 8, 12, 16},
            .geometric_median = {20, 24, 28, 32},
            .covariance = {},
            .int8_scales = {}}}};
}

SaeConfig config_of(std::vector<std::string> hooks) {
  return {.name = "a", .hooks = std::move(hooks), .d_sae = 8};
}

std::filesystem::path written_chunk() {
  ChunkSpec spec;
  spec.hooks = {{kNarrow, 2}, {kWide, 4}};
  return test::written_two_hooks("refract_normalised_hooks.h5", spec);
}

std::vector<std::string> names(const NormalisedHooks& hooks) {
  std::vector<std::string> out;
  for (const NormalisedHook& part : hooks.parts)
    out.push_back(fmt::format("{} {} {} {}", part.hook, part.width, part.normalize,
                              part.normaliser->affine().factor));
  return out;
}
using Names = std::vector<std::string>;

TEST(NormalisedHooks, stand_one_behind_the_other_each_at_its_own_scale) {
  const NormalisedHooks input = normalised_input(config_of({kWide, kNarrow}), calibration());

  EXPECT_EQ(names(input), (Names{kWide + " 4 sqrt_d 0.25", kNarrow + " 2 sqrt_d 0.5"}));
  EXPECT_EQ(input.width(), 6U);
  EXPECT_EQ(input.mean, (std::vector<float>{1, 2, 3, 4, 1, 2}));
  EXPECT_EQ(input.geometric_median, (std::vector<float>{5, 6, 7, 8, 3, 4}));
}

TEST(NormalisedHooks, of_a_target_are_those_of_the_input_unless_it_is_named) {
  SaeConfig config = config_of({kWide});
  EXPECT_EQ(names(normalised_target(config, calibration())),
            names(normalised_input(config, calibration())));

  config.target_hook = kNarrow;
  EXPECT_EQ(names(normalised_target(config, calibration())), (Names{kNarrow + " 2 sqrt_d 0.5"}));
  config.normalize = "none";
  EXPECT_EQ(names(normalised_target(config, calibration())), (Names{kNarrow + " 2 none 1"}));

  config.target_hook = "blocks.9.hook_mlp_out";
  EXPECT_THROW((void)normalised_target(config, calibration()), DataError);
}

TEST(NormalisedHooks, are_read_in_their_order_and_leave_out_what_any_of_them_excludes) {
  const ChunkReader chunk(written_chunk());
  const auto parts = normalised_input(config_of({kWide, kNarrow}), calibration()).parts;

  const Tensor<float> x = NormalisedReader(parts).read(chunk, 2, 3);

  ASSERT_EQ(x.shape(), (Shape{3, 6}));
  for (std::size_t row = 0; row < 3; ++row) {
    for (std::size_t d = 0; d < 4; ++d)
      EXPECT_EQ(x.row(row)[d], test::two_hooks_value(1, 2 + row, d) * 0.25F);
    for (std::size_t d = 0; d < 2; ++d)
      EXPECT_EQ(x.row(row)[4 + d], test::two_hooks_value(0, 2 + row, d) * 0.5F);
  }
  using Flags = std::vector<std::uint8_t>;
  EXPECT_EQ(read_excluded(chunk, parts, 0, kRows), (Flags{0, 1, 0, 1, 1, 0}));
  EXPECT_EQ(read_excluded(chunk, {{.hook = kWide, .width = 4}}, 0, kRows),
            (Flags{0, 1, 0, 0, 1, 0}));
}

}  // namespace
}  // namespace refract
