// A stop asked of one rank while it runs the model ends the work of all. A program of its own: a
// wish to stop lasts as long as the process.
#include <gtest/gtest.h>

#include "refract/base/error.hpp"
#include "refract/base/stop.hpp"
#include "refract/stages/decoder_geometry.hpp"
#include "refract/stages/spliced_loss.hpp"
#include "support/moved_stream.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::MovedStream;
using test::world;

TEST(SplicedLossStop, asked_of_one_rank_while_it_runs_the_model_ends_it_on_all) {
  test::MovedStreamCorpus data(fmt::format("spliced_loss_stop_{}", world().rank()), 40);
  int calls = 0;
  const MovedStream model([&] {
    ++calls;
    if (world().rank() == world().size() - 1) request_stop();
  });
  SharedStop stop(world());

  const HookCalibration& hook = data.calibration().of(MovedStream::kHook);
  EXPECT_THROW((void)SplicedLoss::collective_without_sae(&model, data.corpus(), data.heldout(),
                                                         {hook, hook}, 100000, 1, stop, world()),
               StopRequested);

  // The others may hear of it before they begin.
  if (world().rank() == world().size() - 1) {
    EXPECT_GE(calls, 1);
  }
  EXPECT_TRUE(stop_requested());
  const Tensor<float> W = random_decoder(
      {.name = "small", .hooks = {MovedStream::kHook}, .d_sae = 9}, MovedStream::kDim);
  EXPECT_THROW((void)collective_decoder_geometry("SAE 'small'", W.cview(), stop, world()),
               StopRequested);
  EXPECT_EQ(world().all_reduce_max(1), 1U);
}

}  // namespace
}  // namespace refract
