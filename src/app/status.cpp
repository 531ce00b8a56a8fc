// `refract status RUN...`: looks once, or again and again.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <thread>
#include <vector>

#include "app/commands.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/slurm.hpp"
#include "refract/base/stop.hpp"
#include "refract/pipeline/run_status.hpp"

namespace refract {
namespace {

constexpr double kLookAgain_s = 2;

std::vector<std::filesystem::path> runs_of(const CommandLine& line) {
  if (line.arguments.empty())
    throw ConfigError(
        "refract status takes folders of runs, folders that hold runs, or configurations; none "
        "given. Example: refract status runs/demo");
  std::vector<std::filesystem::path> runs;
  for (const std::string& argument : line.arguments)
    for (const auto& run : runs_meant(argument))
      if (std::ranges::find(runs, run) == runs.end()) runs.push_back(run);
  return runs;
}

std::string page(const std::vector<RunStanding>& standings) {
  return standings.size() == 1 ? describe_standing(standings.front())
                               : describe_standings(standings);
}

// What of a run has to change before a line is worth it in a log: never a rate.
std::string news_of(const RunStanding& standing) {
  std::string text = fmt::format("{} {} {} {}", name(standing.word), standing.attempt,
                                 standing.cause, standing.problems.size());
  if (!standing.now.empty()) text += standing.now.front().what;
  return text;
}

class Watch {
 public:
  explicit Watch(bool json) : json_(json), terminal_(::isatty(STDOUT_FILENO) == 1) {}

  void show(const std::vector<RunStanding>& standings) {
    if (terminal_ && !json_) {
      fmt::print("\033[H\033[2J{}", page(standings));
    } else {
      std::vector<RunStanding> changed;
      for (const RunStanding& standing : standings) {
        std::string& before = told_[standing.run];
        const std::string now = news_of(standing);
        if (now == before) continue;
        before = now;
        changed.push_back(standing);
      }
      if (json_ && !changed.empty()) fmt::print("{}", standings_json(changed, true));
      if (!json_)
        for (const RunStanding& standing : changed) fmt::print("{}\n", standing_line(standing));
    }
    std::fflush(stdout);
  }

 private:
  bool json_, terminal_;
  std::map<std::filesystem::path, std::string> told_;
};

// false: a signal came.
bool pause() {
  using namespace std::chrono_literals;
  for (const double began_s = monotonic_s(); monotonic_s() - began_s < kLookAgain_s;) {
    if (stop_requested()) return false;
    std::this_thread::sleep_for(50ms);
  }
  return true;
}

}  // namespace

ExitCode status_command(const CommandLine& line) {
  const std::vector<std::filesystem::path> runs = runs_of(line);
  if (line.watch) install_stop_handlers();
  RunLooker looker(slurm_state_of);
  Watch watch(line.json);
  while (true) {
    std::vector<RunStanding> standings;
    for (const auto& run : runs) standings.push_back(looker.look(run));
    if (!line.watch) {
      fmt::print("{}", line.json ? standings_json(standings, false) : page(standings));
      return ExitCode::ok;
    }
    watch.show(standings);
    if (std::ranges::none_of(standings, &RunStanding::goes_on) || !pause()) return ExitCode::ok;
  }
}

}  // namespace refract
