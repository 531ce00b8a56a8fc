#include "refract/comm/heartbeat.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include <unistd.h>

namespace refract {
namespace {

constexpr double kLimit_s = 100;

Heartbeat beat(int rank, bool waiting, const std::string& what, double for_s,
               double ticked_ago_s = 0) {
  return {
      .rank = rank,
      .host = "host" + std::to_string(rank),
      .boot = "b",
      .pid = 1000 + rank,
      .count = 7,
      .activity = {.waiting = waiting, .what = what, .for_s = for_s, .ticked_ago_s = ticked_ago_s}};
}

Observed seen(const Heartbeat& heartbeat, double unchanged_s = 0) {
  return {heartbeat.rank, heartbeat, unchanged_s};
}

std::string hang(const Heartbeat& own, std::initializer_list<Observed> others) {
  return find_hang(own, std::span(others.begin(), others.size()), kLimit_s).value_or("");
}

TEST(FindHang, a_rank_that_gets_on_is_left_alone_however_long_its_work) {
  EXPECT_EQ(hang(beat(0, false, "extract 17", 9000, 99), {}), "");
}

TEST(FindHang, a_rank_that_works_without_a_tick_names_itself) {
  const std::string line = hang(beat(1, false, "extract 17", 9000, 101), {});

  EXPECT_TRUE(line.starts_with("refract[1] host1: no progress for 101 s in 'extract 17'")) << line;
  EXPECT_NE(line.find("pipeline.watchdog_s"), std::string::npos) << line;
}

TEST(FindHang, a_waiting_rank_names_the_one_whose_heartbeat_stands_still) {
  const Observed busy = seen(beat(1, false, "extract 3", 500, 1)),
                 frozen = seen(beat(2, false, "train 4", 10, 10), 90);

  const std::string line = hang(beat(0, true, "MPI_Ibarrier", 201), {busy, frozen});

  EXPECT_TRUE(line.starts_with("refract[2] host2: no sign of life for 90 s in 'train 4'")) << line;
  EXPECT_NE(line.find("rank 0 has waited 201 s for MPI_Ibarrier"), std::string::npos) << line;
}

TEST(FindHang, a_rank_waits_for_a_busy_one_that_gets_on) {
  EXPECT_EQ(hang(beat(0, true, "MPI_Ibarrier", 5000), {seen(beat(1, false, "evaluate", 4900, 50))}),
            "");
}

TEST(FindHang, a_rank_waits_twice_the_limit_before_it_judges) {
  EXPECT_EQ(
      hang(beat(0, true, "MPI_Ibarrier", 199), {seen(beat(1, false, "train 4", 10, 10), 150)}), "");
}

TEST(FindHang, a_busy_rank_that_does_not_get_on_is_named_by_one_that_waits) {
  const std::string line =
      hang(beat(0, true, "MPI_Ibarrier", 300), {seen(beat(1, false, "train 4", 400, 250))});

  EXPECT_TRUE(line.starts_with("refract[1] host1: no progress for 250 s in 'train 4'")) << line;
}

TEST(FindHang, a_rank_without_a_heartbeat_is_gone) {
  const std::string line =
      hang(beat(0, true, "MPI_Ibarrier", 300), {{.rank = 1, .beat = {}, .unchanged_s = 90}});

  EXPECT_TRUE(line.starts_with("refract[1]: gone without a word")) << line;
}

TEST(FindHang, all_waiting_for_all_is_a_hang) {
  EXPECT_NE(hang(beat(0, true, "a ticket", 300), {seen(beat(1, true, "MPI_Ibarrier", 200))})
                .find("every rank waits, 0 for a ticket, 1 for MPI_Ibarrier"),
            std::string::npos);
  EXPECT_EQ(hang(beat(0, true, "a ticket", 300), {seen(beat(1, true, "MPI_Ibarrier", 50))}), "");
  EXPECT_EQ(hang(beat(0, true, "a ticket", 300), {}), "");
}

TEST(Heartbeat, is_read_as_it_was_written) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("refract-heartbeat-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  write_heartbeat(folder, beat(3, true, "an all-reduce of 12 values", 1.5, 0.2));

  const std::optional<Heartbeat> read = read_heartbeat(folder, 3);
  const std::optional<Heartbeat> absent = read_heartbeat(folder, 4);
  std::filesystem::remove_all(folder);

  ASSERT_TRUE(read.has_value());
  EXPECT_FALSE(absent.has_value());
  EXPECT_EQ(read->host, "host3");
  EXPECT_EQ(read->pid, 1003);
  EXPECT_EQ(read->count, 7u);
  EXPECT_TRUE(read->activity.waiting);
  EXPECT_EQ(read->activity.what, "an all-reduce of 12 values");
  EXPECT_DOUBLE_EQ(read->activity.for_s, 1.5);
}

TEST(Activity, a_wait_for_the_same_goes_on_and_an_inner_wait_gives_way) {
  waiting("a ticket");
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  waiting("a ticket");
  EXPECT_GE(current_activity().for_s, 0.03);

  working("extract 1");
  {
    const Waiting inner("a sum");
    EXPECT_TRUE(current_activity().waiting);
    EXPECT_EQ(current_activity().what, "a sum");
  }
  EXPECT_FALSE(current_activity().waiting);
  EXPECT_EQ(current_activity().what, "extract 1");
  EXPECT_LT(current_activity().ticked_ago_s, 1.0);
}

}  // namespace
}  // namespace refract
