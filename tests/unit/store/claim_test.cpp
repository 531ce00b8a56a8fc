// Who may write: two processes, dead owners, stale counters.
#include "refract/store/claim.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <thread>

#include "refract/comm/environment.hpp"
#include "unit/store/scratch_folder.hpp"

namespace refract {
namespace {

using test::expect_contains;
using test::ScratchFolder;

// What a waiter needs to see of another machine's owner takes milliseconds instead of minutes.
constexpr ClaimTimes kShort{.beat_s = 0.02, .stale_s = 0.2, .locks = true};
constexpr ClaimTimes kShortWithoutLocks{.beat_s = 0.02, .stale_s = 0.2, .locks = false};
const std::string kElsewhere =
    "host n7 pid 12 start 5 boot 0-0 pid_namespace 9 job slurm-7 token cafe counter ";

std::optional<Claim> try_take(const fs::path& file, std::string& owner,
                              const ClaimTimes& times = {}) {
  return Claim::try_take(file, "test", owner, {}, times);
}

// Runs `body` in a process of its own; it goes on once that process has said that it is ready.
class Other {
 public:
  explicit Other(const std::function<void(const std::function<void()>& ready)>& body) {
    int ends[2];
    if (::pipe(ends) != 0) throw SystemError("pipe: {}", errno);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(ends[0]);
      body([&] { (void)!::write(ends[1], "r", 1); });
      ::_exit(0);
    }
    ::close(ends[1]);
    char answer = 0;
    ready_ = ::read(ends[0], &answer, 1) == 1;
    ::close(ends[0]);
  }
  ~Other() {
    if (pid_ <= 0) return;
    kill();
    wait();
  }
  Other(const Other&) = delete;
  void kill() const { ::kill(pid_, SIGKILL); }
  void wait() { ::waitpid(std::exchange(pid_, -1), nullptr, 0); }
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  bool ready_ = false;
};

void holds_for_ever(const fs::path& file, const std::function<void()>& ready) {
  const Claim claim = Claim::wait_for(file, "holder");
  ready();
  while (true) ::pause();
}

TEST(Claim, names_its_owner_and_leaves_nothing_behind) {
  const ScratchFolder folder;
  const fs::path file = claim_name(folder / "shard.h5");
  EXPECT_EQ(file.filename(), "shard.h5.claim");
  {
    const Claim claim = Claim::wait_for(file, "slurm 12");

    const std::string record = read_file(file);
    expect_contains(record, fmt::format("pid {} ", ::getpid()));
    expect_contains(record, fmt::format("host {} ", host_name()));
    expect_contains(record, "job slurm_12 ");
    EXPECT_NO_THROW(expect_own(claim.mark()));
    EXPECT_EQ(folder.files(), 1u);
  }
  EXPECT_EQ(folder.files(), 0u);
}

TEST(Claim, is_refused_while_another_process_has_it_and_that_one_is_named) {
  const ScratchFolder folder;
  const fs::path file = folder / "a.claim";
  Other other([&](const auto& ready) { holds_for_ever(file, ready); });
  ASSERT_TRUE(other.ready());

  std::string owner;
  EXPECT_FALSE(try_take(file, owner));

  expect_contains(owner, fmt::format("pid {} on host {}, job holder", other.pid(), host_name()));
}

TEST(Claim, of_a_killed_process_is_taken_over_at_once_whether_it_was_waited_for_or_not) {
  for (const bool reaped : {true, false}) {
    const ScratchFolder folder;
    const fs::path file = folder / "a.claim";
    Other other([&](const auto& ready) { holds_for_ever(file, ready); });
    ASSERT_TRUE(other.ready());
    other.kill();
    if (reaped) other.wait();

    // Unreaped, it may take a moment until the process is a zombie: then it is gone, too.
    std::string owner;
    std::optional<Claim> claim;
    do claim = try_take(file, owner);
    while (!claim && !reaped);

    ASSERT_TRUE(claim) << owner;
    expect_contains(read_file(file), fmt::format("pid {} ", ::getpid()));
    claim.reset();
    EXPECT_EQ(folder.files(), 0u);
  }
}

TEST(Claim, that_a_killed_process_left_before_it_was_its_own_stops_nobody) {
  const ScratchFolder folder;
  write_file(folder / "a.claim.0123456789abcdef", "what a kill between two calls leaves");

  std::string owner;
  EXPECT_TRUE(try_take(folder / "a.claim", owner));
}

TEST(Claim, whoever_takes_it_removes_what_killed_processes_left_beside_it_and_nothing_else) {
  const ScratchFolder folder;
  const fs::path file = folder / "a.claim";
  const std::string digits = "0123456789abcdef";
  std::string dead, living;
  {
    Other other([&](const auto& ready) { holds_for_ever(file, ready); });
    ASSERT_TRUE(other.ready());
    dead = read_file(file);
    other.kill();
    other.wait();
  }
  {
    const Claim claim = Claim::wait_for(folder / "b.claim", "living");
    living = read_file(folder / "b.claim");
  }
  const std::vector<fs::path> kept = {
      folder / "a.claim.1111111111111111", folder / "a.claim.2222222222222222",
      folder / "a.claim.3333333333333333", folder / ("b.claim." + digits),
      folder / "a.claim.of_another_kind",  folder / ("a.claim." + digits + ".h5")};
  const fs::path unfinished = folder / ("a.claim." + std::string(digits.rbegin(), digits.rend()));
  const auto leave = [&] {
    write_file(unfinished, dead.substr(0, dead.size() / 2));
    fs::last_write_time(unfinished, fs::file_time_type::clock::now() - std::chrono::minutes(1));
    write_file(kept[0], living);
    write_file(kept[1], kElsewhere + "1\n");
    write_file(kept[2], "");
    for (std::size_t i = 3; i < kept.size(); ++i) write_file(kept[i], dead);
    write_file(folder / ("a.claim." + digits), dead);
  };

  for (const bool stale : {true, false}) {  // taken over, and free
    leave();
    ASSERT_EQ(fs::exists(file), stale);
    std::string owner;

    EXPECT_TRUE(try_take(file, owner)) << owner;

    EXPECT_FALSE(fs::exists(folder / ("a.claim." + digits)));
    EXPECT_FALSE(fs::exists(unfinished)) << "a record of which a kill left half";
    for (const fs::path& path : kept) EXPECT_TRUE(fs::exists(path)) << path;
  }
}

TEST(Claim, of_a_pid_that_is_another_process_now_is_taken_over) {
  const ScratchFolder folder;
  const fs::path file = folder / "a.claim";
  std::string record;
  {
    const Claim claim = Claim::wait_for(file, "before");
    record = read_file(file);
  }
  const std::size_t at = record.find("start ") + 6;
  record.replace(at, record.find(' ', at) - at, "1");
  write_file(file, record);

  std::string owner;
  EXPECT_TRUE(try_take(file, owner)) << owner;
}

TEST(Claim, of_another_machine_is_taken_over_when_its_counter_stands_still) {
  for (const ClaimTimes& times : {kShort, kShortWithoutLocks}) {
    const ScratchFolder folder;
    const fs::path file = folder / "a.claim";
    write_file(file, kElsewhere + "00000000000000000007\n");
    int waited = 0;

    std::string owner;
    const auto claim = Claim::try_take(
        file, "test", owner, [&] { ++waited; }, times);

    EXPECT_TRUE(claim);
    EXPECT_GT(waited, 2) << "taken before it could be known to stand still";
    expect_contains(read_file(file), fmt::format("pid {} ", ::getpid()));
  }
}

TEST(Claim, of_another_machine_is_refused_when_its_counter_moves) {
  const ScratchFolder folder;
  const fs::path file = folder / "a.claim";
  int counter = 0;
  const auto beat = [&] {
    std::ofstream(file) << kElsewhere << fmt::format("{:020}\n", ++counter);  // in place
  };
  beat();

  std::string owner;
  const auto claim = Claim::try_take(file, "test", owner, beat, kShortWithoutLocks);

  EXPECT_FALSE(claim);
  EXPECT_EQ(owner, "pid 12 on host n7, job slurm-7");
}

TEST(Claim, whose_record_cannot_be_read_is_taken_over_when_nothing_moves) {
  for (const char* text : {"", "host", "no record at all\nof ours", "pid x start -1 counter\n"}) {
    const ScratchFolder folder;
    write_file(folder / "a.claim", text);

    std::string owner;
    EXPECT_TRUE(try_take(folder / "a.claim", owner, kShort)) << text;
  }
}

TEST(Claim, counts_on_as_long_as_its_owner_lives) {
  const ScratchFolder folder;
  const fs::path file = folder / "a.claim";
  const Claim claim = Claim::wait_for(file, "test", {}, kShort);
  const std::string first = read_file(file);

  std::string later = first;
  while (later == first) later = read_file(file);  // ends with the test's time limit

  EXPECT_EQ(later.size(), first.size());
  EXPECT_NO_THROW(expect_own(claim.mark()));
}

TEST(Claim, that_was_stolen_or_removed_is_noticed_and_not_removed_by_its_first_owner) {
  const ScratchFolder folder;
  const fs::path file = folder / "a.claim";
  const auto refusal = [](const ClaimMark& mark) {
    try {
      expect_own(mark);
    } catch (const SystemError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  {
    const Claim claim = Claim::wait_for(file, "first");
    write_file(file, kElsewhere + "1\n");  // by rename: another file under the name
    expect_contains(refusal(claim.mark()), "taken over by pid 12 on host n7, job slurm-7");
  }
  EXPECT_EQ(read_file(file), kElsewhere + "1\n");
  fs::remove(file);
  const Claim claim = Claim::wait_for(file, "second");
  fs::remove(file);
  expect_contains(refusal(claim.mark()), "it was removed");
  EXPECT_NO_THROW(expect_own(ClaimMark{})) << "no claim";
}

TEST(Claim, a_waiter_gets_it_when_the_owner_has_finished) {
  const ScratchFolder folder;
  const fs::path file = folder / "a.claim";
  Other waiter([&](const auto& ready) {
    std::optional<Claim> mine = Claim::wait_for(file, "first");
    ready();
    // Until somebody waits: then it is given up.
    const fs::path sign = folder / "somebody waits";
    while (!fs::exists(sign)) std::this_thread::yield();
    mine.reset();
  });
  ASSERT_TRUE(waiter.ready());

  const Claim claim = Claim::wait_for(file, "second", [&] {
    if (!fs::exists(folder / "somebody waits")) write_file(folder / "somebody waits", "");
  });

  expect_contains(read_file(file), "job second");
}

TEST(Claim, an_idle_call_that_throws_ends_the_waiting) {
  const ScratchFolder folder;
  const fs::path file = folder / "a.claim";
  Other other([&](const auto& ready) { holds_for_ever(file, ready); });
  ASSERT_TRUE(other.ready());

  EXPECT_THROW((void)Claim::wait_for(file, "waiter", [] { throw StopRequested("stop"); }),
               StopRequested);
}

TEST(Claim, serves_one_of_many_processes_at_a_time) {
  for (const bool locks : {true, false}) {
    const ScratchFolder folder;
    const fs::path file = folder / "a.claim", count = folder / "count";
    constexpr int kProcesses = 4, kTurns = 25;
    write_file(count, "0");
    std::vector<pid_t> children;
    for (int p = 0; p < kProcesses; ++p) {
      const pid_t child = ::fork();
      if (child == 0) {
        for (int turn = 0; turn < kTurns; ++turn) {
          const Claim claim =
              Claim::wait_for(file, "one", {}, {.beat_s = 0.004, .stale_s = 60, .locks = locks});
          const int before = std::stoi(read_file(count));
          expect_own(claim.mark());
          write_file(count, std::to_string(before + 1));
        }
        ::_exit(0);
      }
      children.push_back(child);
    }
    for (const pid_t child : children) {
      int status = -1;
      ::waitpid(child, &status, 0);
      EXPECT_EQ(status, 0);
    }
    EXPECT_EQ(read_file(count), std::to_string(kProcesses * kTurns));
    EXPECT_EQ(folder.files(), 1u);
  }
}

TEST(Claim, owner_is_told_without_taking_it) {
  const ScratchFolder folder;
  const fs::path file = claim_name(folder / "shard.h5");
  EXPECT_FALSE(claim_owner(file));
  {
    const Other other([&](const auto& ready) { holds_for_ever(file, ready); });
    ASSERT_TRUE(other.ready());

    const auto owner = claim_owner(file);

    ASSERT_TRUE(owner);
    expect_contains(*owner, fmt::format("pid {}", other.pid()));
  }
  EXPECT_FALSE(claim_owner(file)) << "its owner is dead";
  EXPECT_TRUE(fs::exists(file)) << "asking changed it";
}

TEST(Claim, is_looked_at_once_from_anywhere_and_left_as_it_was) {
  using Sign = ClaimSight::Sign;
  const ScratchFolder scratch;
  const fs::path file = scratch / "run.lock";
  EXPECT_EQ(look_at_claim(file).sign, Sign::absent);
  {
    std::string owner;
    const auto claim = try_take(file, owner);
    const ClaimSight sight = look_at_claim(file);
    EXPECT_EQ(sight.sign, Sign::living);
    EXPECT_EQ(sight.job, "test");
    EXPECT_EQ(sight.record, read_file(file));
    EXPECT_NE(sight.owner.find(std::to_string(::getpid())), std::string::npos);
  }
  {
    Other owner([&](const auto& ready) {
      std::string none;
      const auto claim = try_take(file, none);
      ready();
      ::pause();
    });
    ASSERT_TRUE(owner.ready());
    owner.kill();
    owner.wait();
    EXPECT_EQ(look_at_claim(file).sign, Sign::gone);
  }
  for (const std::string& text : {kElsewhere + "1\n", std::string("nonsense")}) {
    write_file(file, text);
    EXPECT_EQ(look_at_claim(file).sign, Sign::elsewhere);
    EXPECT_EQ(read_file(file), text);
  }
}

TEST(Claim, of_one_dead_owner_is_taken_over_by_one_of_many) {
  for (const bool locks : {true, false}) {
    const ScratchFolder folder;
    const fs::path file = folder / "a.claim";
    constexpr int kProcesses = 4;
    write_file(file, kElsewhere + "1\n");
    std::vector<pid_t> children;
    for (int p = 0; p < kProcesses; ++p) {
      const pid_t child = ::fork();
      if (child == 0) {
        std::string owner;
        const auto claim = Claim::try_take(file, "heir", owner, {},
                                           {.beat_s = 0.01, .stale_s = 0.1, .locks = locks});
        if (!claim) ::_exit(0);
        write_file(folder / fmt::format("taken {}", p), "");
        while (true) ::pause();
      }
      children.push_back(child);
    }
    // One stays, with the claim; the others end.
    int ended = 0;
    for (; ended < kProcesses - 1; ++ended) ASSERT_GT(::wait(nullptr), 0);

    EXPECT_EQ(folder.files(), 2u) << "the claim, and the sign of one who took it";
    for (const pid_t child : children) ::kill(child, SIGKILL);
    ASSERT_GT(::wait(nullptr), 0);
  }
}

TEST(Claim, says_where_no_file_can_be_made) {
  const ScratchFolder folder;
  write_file(folder / "occupied", "a file, not a folder");

  EXPECT_THROW((void)Claim::wait_for(folder / "occupied/a.claim", "test"), SystemError);
}

}  // namespace
}  // namespace refract
