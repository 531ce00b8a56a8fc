#include "refract/store/calibration.hpp"

#include <gtest/gtest.h>

#include <algorithm>

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
  CalibrationData data{{hook("blocks.5.hook_resid_post", 3), hook("blocks.1.hook_mlp_out", 2)}};
  WhiteningMaps maps{Tensor<float>(Shape{3, 3}), Tensor<float>(Shape{3, 3})};
  std::ranges::fill(maps.W.span(), 0.5F);
  std::ranges::fill(maps.inverse.span(), 0.25F);
  data.hooks[0].whitening = std::make_shared<const WhiteningMaps>(std::move(maps));
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
  EXPECT_EQ(second.whitening, nullptr);
  ASSERT_NE(read.data.hooks[0].whitening, nullptr);
  EXPECT_EQ(read.data.hooks[0].whitening->W.shape(), (Shape{3, 3}));
  EXPECT_EQ(read.data.hooks[0].whitening->W.row(1)[2], 0.5F);
  EXPECT_EQ(read.data.hooks[0].whitening->inverse.row(2)[1], 0.25F);
}

TEST(Calibration, names_the_hooks_there_are) {
  const CalibrationData data{{hook("blocks.1.hook_mlp_out", 2)}};

  expect_contains(data_error([&] { (void)data.of("blocks.2.hook_mlp_out"); }),
                  "it has: blocks.1.hook_mlp_out");
}

}  // namespace
}  // namespace refract
