#include "refract/store/calibration.hpp"

#include <gtest/gtest.h>

#include "refract/base/error.hpp"
#include "unit/store/scratch_folder.hpp"

namespace refract {
namespace {

using test::data_error;
using test::expect_contains;
using test::ScratchFolder;

HookCalibration hook(const std::string& name, std::size_t d_in) {
  HookCalibration of;
  of.hook = name;
  of.d_in = d_in;
  of.rows = 1000 + d_in;
  of.tokens = 2000;
  of.median_norm = 12.5;
  of.sink_threshold = 125;
  of.mean_norm = 13;
  for (std::size_t i = 0; i < d_in; ++i) {
    of.mean.push_back(static_cast<float>(i));
    of.geometric_median.push_back(static_cast<float>(i) + 0.5f);
    of.int8_scales.push_back(0.01f);
  }
  for (std::size_t i = 0; i < d_in * d_in; ++i)
    of.covariance.push_back(1.0 / (1.0 + static_cast<double>(i)));
  return of;
}

TEST(Calibration, gives_back_every_hook_in_its_order) {
  const ScratchFolder folder;
  const CalibrationData data{
      {hook("blocks.5.hook_resid_post", 3), hook("blocks.1.hook_mlp_out", 2)}};
  const std::string digest = write_calibration(folder / "calibration.h5", data, {{"model", "m"}});

  const Calibration read = read_calibration(folder / "calibration.h5", {{"model", "m"}});

  EXPECT_EQ(read.content_digest, digest);
  ASSERT_EQ(read.data.hooks.size(), 2u);
  EXPECT_EQ(read.data.hooks[0].hook, "blocks.5.hook_resid_post");
  const HookCalibration& second = read.data.of("blocks.1.hook_mlp_out");
  EXPECT_EQ(second.d_in, 2u);
  EXPECT_EQ(second.rows, 1002u);
  EXPECT_EQ(second.sink_threshold, 125);
  EXPECT_EQ(second.mean, data.hooks[1].mean);
  EXPECT_EQ(second.geometric_median, data.hooks[1].geometric_median);
  EXPECT_EQ(second.covariance, data.hooks[1].covariance);
  EXPECT_EQ(second.int8_scales, data.hooks[1].int8_scales);
}

TEST(Calibration, scales_the_mean_norm_to_the_root_of_the_width_or_not_at_all) {
  HookCalibration of = hook("blocks.1.hook_mlp_out", 9);
  of.mean_norm = 12;

  EXPECT_EQ(input_scale(of, "sqrt_d"), 0.25);
  EXPECT_EQ(input_scale(of, "none"), 1);
  for (const double norm : {0.0, 1e-40, 1e40}) {
    of.mean_norm = norm;
    EXPECT_THROW((void)input_scale(of, "sqrt_d"), NumericalError) << norm;
    EXPECT_EQ(input_scale(of, "none"), 1);
  }
}

TEST(Calibration, names_the_hooks_there_are) {
  const CalibrationData data{{hook("blocks.1.hook_mlp_out", 2)}};

  expect_contains(data_error([&] { (void)data.of("blocks.2.hook_mlp_out"); }),
                  "it has: blocks.1.hook_mlp_out");
}

}  // namespace
}  // namespace refract
