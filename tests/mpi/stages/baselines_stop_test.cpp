// A stop asked of one rank ends the fit on all of them. The request lasts as long as the process: a
// program of its own, with this case alone.
#include <gtest/gtest.h>
#include <unistd.h>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/stop.hpp"
#include "refract/stages/baselines.hpp"
#include "support/activation_chunk.hpp"
#include "support/mixed_rows.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::world;

TEST(BaselinesStop, asked_of_one_rank_ends_the_fit_on_all_of_them) {
  constexpr const char* kHook = "blocks.0.hook_resid_post";
  std::string folder =
      (fs::path(testing::TempDir()) / fmt::format("baselines_stop_{}", ::getpid())).string();
  world().broadcast_string(folder, 0);
  const test::MixedRows rows = test::mixed_rows(kHook, 500, 8);
  if (world().rank() == 0) {
    make_folder(folder);
    test::write_activation_chunk(fs::path(folder) / "rows.h5", kHook, rows.x, rows.excluded, 128);
  }
  world().barrier();
  const ChunkReader training(fs::path(folder) / "rows.h5");
  const BaselineSources sources{.training = &training, .calibration = &rows.calibration};
  SharedStop stop(world());
  const auto fit = [&] {
    (void)Baselines::collective_fit(std::vector<std::string>{"semi_nmf", "ica"}, sources, stop,
                                    world());
  };
  fit();
  const bool is_asked = world().rank() == world().size() - 1;

  if (is_asked) request_stop();
  EXPECT_THROW(fit(), StopRequested);

  EXPECT_TRUE(stop_requested());  // whoever heard of it wants to stop too
  world().barrier();              // nothing is left on its way
  if (world().rank() == 0) fs::remove_all(folder);
}

}  // namespace
}  // namespace refract
