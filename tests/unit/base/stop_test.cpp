#include "refract/base/stop.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"

namespace refract {
namespace {

// A request to stop lasts as long as the process: each case has a process of its own, whose exit
// code says how it went.
class Stop : public testing::Test {
 protected:
  Stop() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

constexpr int kHeld = 7, kBroken = 8;
void end(bool held) { ::_exit(held ? kHeld : kBroken); }

template <typename Work>
bool is_dropped(Work&& work) {
  try {
    work();
  } catch (const StopRequested& stopped) {
    return stopped.code() == ExitCode::resume;
  }
  return false;
}

TEST_F(Stop, lets_work_that_may_not_be_dropped_go_on) {
  EXPECT_EXIT(
      {
        request_stop();
        std::atomic<int> items{0};
        stop_point();
        parallel_for(100, [&](std::size_t) { ++items; });
        end(stop_requested() && !stop_now() && items == 100);
      },
      testing::ExitedWithCode(kHeld), "");
}

TEST_F(Stop, drops_work_at_its_next_stop_point_while_it_is_droppable) {
  EXPECT_EXIT(
      {
        request_stop();
        bool dropped = false;
        {
          const Droppable droppable;
          dropped = is_dropped([] { stop_point(); });
        }
        end(dropped && !is_dropped([] { stop_point(); }));  // again what may not be dropped
      },
      testing::ExitedWithCode(kHeld), "");
}

TEST_F(Stop, stays_droppable_until_the_outermost_ends) {
  EXPECT_EXIT(
      {
        request_stop();
        const Droppable outer;
        { const Droppable inner; }
        end(stop_now());
      },
      testing::ExitedWithCode(kHeld), "");
}

TEST_F(Stop, leaves_a_parallel_loop_between_its_items) {
  EXPECT_EXIT(
      {
        const Droppable droppable;
        std::atomic<int> items{0};
        const bool dropped = is_dropped([&] {
          parallel_for(100000, [&](std::size_t) {
            ++items;
            request_stop();
          });
        });
        end(dropped && items >= 1 && items <= thread_count());
      },
      testing::ExitedWithCode(kHeld), "");
}

TEST_F(Stop, comes_with_the_first_signal_and_ends_the_process_with_an_int_a_second_later) {
  using std::chrono::steady_clock, std::chrono::milliseconds;
  const auto begin = steady_clock::now();
  EXPECT_EXIT(
      {
        install_stop_handlers();
        ::raise(SIGTERM);
        if (!stop_requested()) end(false);
        // What comes within a second is the same wish, and TERM and USR1 always are.
        const auto first = steady_clock::now();
        while (true) {
          ::raise(SIGTERM);
          ::raise(SIGUSR1);
          const bool is_another_wish = steady_clock::now() - first > milliseconds(1001);
          ::raise(SIGINT);
          if (is_another_wish) end(false);
        }
      },
      testing::ExitedWithCode(static_cast<int>(ExitCode::resume)), "");
  EXPECT_GE(steady_clock::now() - begin, milliseconds(999)) << "the same wish ended it";
}

TEST_F(Stop, names_the_signal_that_came_first) {
  EXPECT_EXIT(
      {
        install_stop_handlers();
        stop_at(monotonic_s() + 3600, "at some time");
        ::raise(SIGUSR1);
        ::raise(SIGTERM);
        end(stop_requested() && stop_cause() == "by SIGUSR1" && seconds_until_stop() == 0);
      },
      testing::ExitedWithCode(kHeld), "");
}

TEST_F(Stop, comes_with_its_moment) {
  EXPECT_EXIT(
      {
        stop_at(monotonic_s() + 3600, "far off");
        const bool before = stop_requested() || seconds_until_stop() < 3000;
        stop_at(monotonic_s(), "in time");
        stop_at(monotonic_s() + 3600, "too late");
        end(!before && stop_requested() && stop_cause() == "in time" && seconds_until_stop() <= 0);
      },
      testing::ExitedWithCode(kHeld), "");
}

void wait_until_a_tick_is_missed() {
  while (!(current_activity().ticked_ago_s > 0)) {
  }
}

TEST(LibraryCall, counts_as_getting_on_until_its_end_which_is_a_tick) {
  {
    const LibraryCall outer;
    { const LibraryCall inner; }
    EXPECT_EQ(current_activity().ticked_ago_s, 0);
    EXPECT_EQ(current_activity().ticked_ago_s, 0);
  }

  wait_until_a_tick_is_missed();  // would not end were the call still believed
}

}  // namespace
}  // namespace refract
