// A stop asked of one rank ends the calibration on all of them. The request lasts as long as the
// process: a program of its own, with this case alone.
#include <gtest/gtest.h>

#include <functional>

#include "refract/base/error.hpp"
#include "refract/base/stop.hpp"
#include "refract/stages/calibrate.hpp"
#include "support/token_stream.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::world;

CalibrationData calibrate(test::SmallCorpus& corpus, const std::function<void()>& called) {
  const test::TokenStream model(3, called);
  const CalibrationPlan plan = plan_calibration({}, corpus.corpus(), 1, RowRule{}, 1);
  return collective_calibrate(plan, model, {{0, Site::resid_post}}, corpus.corpus(), 10, world());
}

TEST(CalibrateStop, asked_of_one_rank_while_it_computes_ends_it_on_all_of_them) {
  test::SmallCorpus corpus("calibrate_stop", 160);  // several rounds on four ranks
  int calls = 0;
  const CalibrationData whole = calibrate(corpus, [&] { ++calls; });
  ASSERT_EQ(whole.hooks.size(), world().rank() == 0 ? 1U : 0U);
  const bool is_asked = world().rank() == world().size() - 1;
  if (is_asked) {
    ASSERT_GT(calls, 1);
  }

  int calls_before_the_end = 0;
  EXPECT_THROW((void)calibrate(corpus,
                               [&] {
                                 ++calls_before_the_end;
                                 if (is_asked) request_stop();
                               }),
               StopRequested);

  EXPECT_EQ(calls_before_the_end, 1) << "no rank begins another round";
  EXPECT_EQ(stop_requested(), is_asked);
  int calls_after_it = 0;
  EXPECT_THROW((void)calibrate(corpus, [&] { ++calls_after_it; }), StopRequested);
  EXPECT_EQ(calls_after_it, is_asked ? 0 : 1);
}

}  // namespace
}  // namespace refract
