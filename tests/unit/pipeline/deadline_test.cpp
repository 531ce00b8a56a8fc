#include "refract/pipeline/deadline.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <ctime>

#include "refract/base/stop.hpp"

namespace refract {
namespace {

// The moment of a process is set once more, never taken back: each case has a process of its own.
constexpr int kHeld = 7, kBroken = 8;
void end(bool held) { ::_exit(held ? kHeld : kBroken); }

class DeadlineOf : public testing::Test {
 protected:
  DeadlineOf() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

// Wide: a slow machine may be minutes late.
bool about(double seconds, double expected) {
  return seconds <= expected + 1 && seconds > expected - 600;
}

TEST_F(DeadlineOf, a_job_without_limits_is_never) {
  EXPECT_EXIT(
      {
        const Deadline deadline({});
        stop_unless_left(1e9, "anything");
        end(std::isinf(seconds_until_stop()) && !stop_requested());
      },
      testing::ExitedWithCode(kHeld), "");
}

TEST_F(DeadlineOf, an_allocation_comes_before_its_end_and_earlier_with_long_checkpoints) {
  EXPECT_EXIT(
      {
        Deadline deadline({.allocation_end = std::time(nullptr) + 36000});
        if (!about(seconds_until_stop(), 36000 - 120)) end(false);
        deadline.checkpoint_took(1000);
        deadline.checkpoint_took(10);
        end(about(seconds_until_stop(), 36000 - 120 - 2000));
      },
      testing::ExitedWithCode(kHeld), "");
}

TEST_F(DeadlineOf, a_short_allocation_keeps_most_of_its_time) {
  EXPECT_EXIT(
      {
        const Deadline deadline({.allocation_end = std::time(nullptr) + 1000});
        end(seconds_until_stop() > 0 && about(seconds_until_stop(), 900));
      },
      testing::ExitedWithCode(kHeld), "");
}

TEST_F(DeadlineOf, what_comes_first_counts) {
  EXPECT_EXIT(
      {
        const Deadline deadline(
            {.allocation_end = std::time(nullptr) + 36000, .stop_after_s = 7200});
        end(about(seconds_until_stop(), 7200));
      },
      testing::ExitedWithCode(kHeld), "");
}

TEST_F(DeadlineOf, one_that_is_past_says_so) {
  EXPECT_EXIT(
      {
        const Deadline deadline({.allocation_end = 1'000'000'000});
        end(stop_requested() && stop_cause().find("end of the allocation") != std::string::npos);
      },
      testing::ExitedWithCode(kHeld), "");
}

TEST_F(DeadlineOf, what_does_not_fit_is_not_begun) {
  EXPECT_EXIT(
      {
        const Deadline deadline({.allocation_end = {}, .stop_after_s = 36000});
        stop_unless_left(60, "a short thing");
        if (stop_requested()) end(false);
        stop_unless_left(360000, "a long thing");
        end(stop_requested() && stop_cause().find("in time: a long thing") != std::string::npos);
      },
      testing::ExitedWithCode(kHeld), "");
}

}  // namespace
}  // namespace refract
