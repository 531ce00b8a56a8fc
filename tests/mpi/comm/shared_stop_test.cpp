// A program of its own: a wish to stop lasts as long as the process.
#include "refract/comm/shared_stop.hpp"

#include <gtest/gtest.h>

#include "refract/base/error.hpp"
#include "refract/base/stop.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::world;

TEST(SharedStop, asked_of_one_rank_ends_the_work_of_all_within_a_piece) {
  SharedStop stop(world());
  bool done = false;
  stop.collective([&] { done = true; });
  EXPECT_TRUE(done);

  // Of the others each would go on for ever: only hearing of it ends them.
  const auto work = [&] {
    if (world().rank() == world().size() - 1) request_stop();
    while (true) stop.poll();
  };
  EXPECT_THROW(stop.collective(work), StopRequested);
  // Nothing of it is left on the way, and the wish lasts.
  EXPECT_THROW(stop.collective([] {}), StopRequested);
  EXPECT_EQ(world().all_reduce_max(1), 1U);
}

}  // namespace
}  // namespace refract
