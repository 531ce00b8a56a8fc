#include "refract/comm/watchdog.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "refract/base/activity.hpp"

namespace refract {
namespace {

using namespace std::chrono_literals;

class WatchdogOfOneRank : public testing::Test {
 protected:
  ~WatchdogOfOneRank() override { std::filesystem::remove_all(folder_.parent_path()); }
  std::filesystem::path folder_ = std::filesystem::temp_directory_path() /
                                  ("refract-watchdog-" + std::to_string(::getpid())) / "alive";
  Communicator world_ = Communicator::loopback();
};

TEST_F(WatchdogOfOneRank, ends_a_process_that_is_stuck_in_a_loop) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        const Watchdog watchdog = Watchdog::collective_start(world_, folder_, 0.5);
        working("a loop");
        for (volatile bool forever = true; forever;) {
        }
      },
      testing::ExitedWithCode(4), R"(refract\[0\] .*: no progress for .* s in 'a loop')");
}

TEST_F(WatchdogOfOneRank, leaves_one_that_ticks_alone_and_cleans_up) {
  {
    const Watchdog watchdog = Watchdog::collective_start(world_, folder_, 0.5);
    working("steps");
    for (int step = 0; step < 12; ++step) {
      std::this_thread::sleep_for(100ms);
      tick();
    }
    EXPECT_TRUE(std::filesystem::exists(folder_ / "0"));
  }
  EXPECT_FALSE(std::filesystem::exists(folder_));
}

TEST_F(WatchdogOfOneRank, leaves_one_that_waits_alone) {
  const Watchdog watchdog = Watchdog::collective_start(world_, folder_, 0.3);
  const Waiting wait("the world");
  std::this_thread::sleep_for(1s);
}

TEST_F(WatchdogOfOneRank, leaves_one_inside_a_library_that_cannot_tick_alone) {
  const Watchdog watchdog = Watchdog::collective_start(world_, folder_, 0.3);
  working("principal components");
  const LibraryCall call;
  std::this_thread::sleep_for(1s);
}

TEST_F(WatchdogOfOneRank, is_off_at_0) {
  const Watchdog watchdog = Watchdog::collective_start(world_, folder_, 0);
  EXPECT_FALSE(std::filesystem::exists(folder_));
}

}  // namespace
}  // namespace refract
