// A stop asked of one rank ends the statistics on all of them. The request lasts as long as the
// process: a program of its own, with this case alone.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/stop.hpp"
#include "refract/stages/statistics.hpp"
#include "support/heldout_rows.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::world;

TEST(StatisticsStop, asked_of_one_rank_ends_them_on_all) {
  const fs::path path =
      fs::path(testing::TempDir()) / fmt::format("statistics_stop_{}.h5", ::getpid());
  test::HeldoutRows rows;
  for (std::uint32_t i = 0; i < 20; ++i)
    rows.add(0, i, i, 0, 0, false, std::vector<float>{static_cast<float>(i), 1, 2});
  rows.write(path);
  const ChunkReader heldout(path);
  HookCalibration calibration;
  calibration.hook = test::HeldoutRows::kHook;
  calibration.d_in = 3;
  calibration.mean.assign(3, 0);
  calibration.covariance = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  SharedStop stop(world());
  const auto measure = [&] {
    return collective_activation_statistics(heldout, calibration, {}, 0, stop, world());
  };
  EXPECT_EQ(measure().rows, 20u);

  if (world().rank() == world().size() - 1) request_stop();

  EXPECT_THROW((void)measure(), StopRequested);
  fs::remove(path);
}

}  // namespace
}  // namespace refract
