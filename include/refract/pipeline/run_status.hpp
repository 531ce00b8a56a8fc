#pragma once
// `refract status`: how runs stand, found from their files alone, on any machine that sees them,
// also by a user who may only read. What cannot be read is a line in `problems` and hides nothing
// else.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "refract/pipeline/progress_file.hpp"

namespace refract {

// none: no run in the folder | waiting: submitted, never started | stopped: on request, to be
// started again | stuck: stopped before anything was made | crashed: it ended without saying how.
enum class RunWord { none, waiting, running, stopped, stuck, done, failed, crashed };
inline constexpr std::size_t kRunWords = 8;
[[nodiscard]] std::string_view name(RunWord word);

struct RunStanding {
  std::filesystem::path run;
  RunWord word = RunWord::none;
  std::uint64_t attempt = 0;  // 0: none began
  std::string job, host;      // of the attempt; host empty where it is not known
  int hosts = 1, ranks = 0;   // 0: not known
  std::string command;        // of the attempt, where it is known
  int code = 0;               // exit code of an attempt that ended
  std::string cause;          // why it does not run, and what to do; one line
  std::string note;           // who else is at it, or how the queue calls its job; one line
  bool goes_on = false;       // it runs, or a job that the queue has will go on with it
  bool live = false;          // what follows is of the present attempt, from progress.json
  std::vector<WorkPiece> now;
  std::vector<StageProgress> stages;
  std::optional<double> share;  // of the whole command, 0..1
  std::optional<TimeLeft> left;
  std::optional<std::int64_t> allocation_end;         // seconds since 1970
  std::vector<std::pair<std::string, double>> rates;  // rows/s by stage, of the attempt
  std::uint64_t disk_max_bytes = 0;                   // 0: not known
  DiskUse disk;
  std::optional<std::uint64_t> disk_free;  // of the run's file system, for this user
  std::string log;
  std::vector<std::string> problems;
};

// A folder that holds the files of a run, or a submission.
[[nodiscard]] bool is_run_folder(const std::filesystem::path& folder);
// What an argument means: the folder of a run; a configuration (a file), whose `run` it is; a
// folder that holds runs and is none itself: those, by name. ConfigError for what is not there or
// means no run.
[[nodiscard]] std::vector<std::filesystem::path> runs_meant(const std::string& argument);

struct LookTimes {          // shorter in tests
  double stale_s = 300;     // a claim that stands still for so long, seen by this process, is dead
  double ask_again_s = 30;  // the queue about the same job, at most so often
};

// Looks at runs, once or again and again: it remembers what it saw of each.
class RunLooker {
 public:
  // As slurm_state_of (base/slurm.hpp).
  using AskQueue = std::function<std::optional<std::string>(const std::string& job)>;
  explicit RunLooker(AskQueue ask_queue, const LookTimes& times = {});
  ~RunLooker();
  RunLooker(const RunLooker&) = delete;

  // Whether a `running` is true: the owner's process where it was on this machine; else its job in
  // the queue; else whether run.lock changes from look to look. A crash is never said from the age
  // of a file.
  [[nodiscard]] RunStanding look(const std::filesystem::path& run);

 private:
  class Body;
  std::unique_ptr<Body> body_;
};

// One run: a block of lines. Several: a line each, at most 100 columns, and how many stand how.
[[nodiscard]] std::string describe_standing(const RunStanding& standing);
[[nodiscard]] std::string describe_standings(const std::vector<RunStanding>& standings);
// One line of the table; what changes with it is news (`--watch` without a terminal).
[[nodiscard]] std::string standing_line(const RunStanding& standing);
// {"schema": "refract.status", "version": 1, "runs": [...]}: docs/formats/run.md.
[[nodiscard]] std::string standings_json(const std::vector<RunStanding>& standings, bool one_line);

}  // namespace refract
