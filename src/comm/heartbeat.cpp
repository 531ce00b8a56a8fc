#include "refract/comm/heartbeat.hpp"

#include <fmt/format.h>

#include <fstream>
#include <system_error>

namespace refract {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAgain = "start the same command again, it resumes";
constexpr double kFrozenShare =
    0.8;  // of limit_s without a new heartbeat; they come ten times as often

std::string who(const Heartbeat& beat) {
  return fmt::format("refract[{}] {}", beat.rank, beat.host);
}

std::string frozen(const Observed& other, const Heartbeat& own) {
  const std::string waits = fmt::format("rank {} has waited {:.0f} s for {}", own.rank,
                                        own.activity.for_s, own.activity.what);
  if (!other.beat)
    return fmt::format("refract[{}]: gone without a word ({}); {}", other.rank, waits, kAgain);
  return fmt::format(
      "{}: no sign of life for {:.0f} s in '{}' (process {}: stopped, swapped out, or its host is "
      "down; {}); {}",
      who(*other.beat), other.unchanged_s, other.beat->activity.what, other.beat->pid, waits,
      kAgain);
}

std::string stuck(const Heartbeat& beat) {
  return fmt::format(
      "{}: no progress for {:.0f} s in '{}' (process {}: a loop without end, or a disk that does "
      "not answer); {}, or raise pipeline.watchdog_s",
      who(beat), beat.activity.ticked_ago_s, beat.activity.what, beat.pid, kAgain);
}

std::string all_wait(const Heartbeat& own, std::span<const Observed> others) {
  std::string text =
      fmt::format("{}: every rank waits, {} for {}", who(own), own.rank, own.activity.what);
  for (const Observed& other : others)
    text += fmt::format(", {} for {}", other.rank, other.beat->activity.what);
  return fmt::format("{}: a defect of the program, please report it; {}", text, kAgain);
}

}  // namespace

void write_heartbeat(const fs::path& folder, const Heartbeat& beat) {
  const fs::path final_name = folder / std::to_string(beat.rank),
                 part = final_name.string() + ".part";
  {
    std::ofstream file(part, std::ios::trunc);
    file << fmt::format(
        "rank {}\nhost {}\nboot {}\npid {}\nbeat {}\nstate {}\nfor_s {:.1f}\nticked_ago_s "
        "{:.1f}\nwhat {}\n",
        beat.rank, beat.host, beat.boot, beat.pid, beat.count,
        beat.activity.waiting ? "waiting" : "working", beat.activity.for_s,
        beat.activity.ticked_ago_s, beat.activity.what);
    if (!file.flush()) return;
  }
  std::error_code ignored;
  fs::rename(part, final_name, ignored);
}

std::optional<Heartbeat> read_heartbeat(const fs::path& folder, int rank) {
  std::ifstream file(folder / std::to_string(rank));
  Heartbeat beat;
  beat.activity.what.clear();
  std::string key, state;
  while (file >> key) {
    if (key == "rank")
      file >> beat.rank;
    else if (key == "host")
      file >> beat.host;
    else if (key == "boot")
      file >> beat.boot;
    else if (key == "pid")
      file >> beat.pid;
    else if (key == "beat")
      file >> beat.count;
    else if (key == "state")
      file >> state;
    else if (key == "for_s")
      file >> beat.activity.for_s;
    else if (key == "ticked_ago_s")
      file >> beat.activity.ticked_ago_s;
    else
      std::getline(file >> std::ws, beat.activity.what);
  }
  if (beat.activity.what.empty()) return std::nullopt;
  beat.activity.waiting = state == "waiting";
  return beat;
}

std::optional<std::string> find_hang(const Heartbeat& own, std::span<const Observed> others,
                                     double limit_s) {
  if (!own.activity.waiting) {
    if (own.activity.ticked_ago_s <= limit_s) return std::nullopt;
    return stuck(own);
  }
  if (own.activity.for_s <= 2 * limit_s) return std::nullopt;
  for (const Observed& other : others)
    if (other.unchanged_s > kFrozenShare * limit_s) return frozen(other, own);
  bool all_have_waited = true;
  for (const Observed& other : others) {
    if (!other.beat) return std::nullopt;  // seen missing only just now
    const Activity& activity = other.beat->activity;
    if (!activity.waiting && activity.ticked_ago_s > limit_s) return stuck(*other.beat);
    all_have_waited &= activity.waiting && activity.for_s > limit_s;
  }
  if (others.empty() || !all_have_waited) return std::nullopt;
  return all_wait(own, others);
}

}  // namespace refract
