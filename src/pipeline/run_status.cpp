#include "refract/pipeline/run_status.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <map>
#include <set>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/file_system.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/slurm.hpp"
#include "refract/pipeline/ledger.hpp"
#include "refract/pipeline/numerics.hpp"
#include "refract/pipeline/run_config.hpp"
#include "refract/pipeline/run_folder.hpp"
#include "refract/pipeline/training_plan.hpp"
#include "refract/store/claim.hpp"

namespace refract {
namespace {

constexpr const char* kAgain = "start the same command again, it resumes";

// It has no process now, and may have one again.
bool is_to_start(const std::string& state) {
  static const std::set<std::string> kToStart{"PENDING",      "REQUEUED",      "REQUEUE_FED",
                                              "REQUEUE_HOLD", "RESV_DEL_HOLD", "CONFIGURING"};
  return kToStart.contains(state);
}

std::optional<std::time_t> changed_at(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return std::nullopt;
  return status.st_mtime;
}

std::string clock_of(std::time_t moment) {
  std::tm parts{};
  ::localtime_r(&moment, &parts);
  std::array<char, 32> text{};
  const bool today = std::time(nullptr) - moment < 86400;
  std::strftime(text.data(), text.size(), today ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &parts);
  return text.data();
}

// The file's time is of the machine that keeps it, which may have another clock.
std::string last_sign(const fs::path& file) {
  const std::optional<std::time_t> moment = changed_at(file);
  if (!moment) return "";
  const auto ago_s = static_cast<double>(std::max<std::time_t>(0, std::time(nullptr) - *moment));
  return fmt::format("last sign of life {} ({} ago by this host's clock)", clock_of(*moment),
                     human_seconds(ago_s));
}

std::vector<fs::path> runs_in(const fs::path& folder) {
  std::vector<fs::path> runs;
  std::error_code none;
  for (fs::directory_iterator entry(folder, none), end; !none && entry != end;
       entry.increment(none))
    if (is_run_folder(entry->path())) runs.push_back(entry->path());
  std::ranges::sort(runs);
  return runs;
}

// What a RunLooker remembers of a run.
struct Memory {
  std::string owner;   // of its claim
  std::string claim;   // its record
  double since_s = 0;  // it has been so since
  bool beats = false;  // it has changed
  std::uintmax_t ledger_bytes = 0;
  fs::file_time_type ledger_changed;
  RunState state;
  std::string ledger_problem;
};

}  // namespace

std::string_view name(RunWord word) {
  constexpr std::array<std::string_view, kRunWords> kNames{
      "no run", "waiting", "running", "stopped", "stuck", "done", "failed", "crashed"};
  return kNames[static_cast<std::size_t>(word)];
}

bool is_run_folder(const fs::path& folder) {
  const RunFolder run = run_folder(folder, "");
  const auto files = {run.status(), run.ledger(), run.run_yaml(), run.lock(), run.submitted_job()};
  return std::ranges::any_of(files, is_there);
}

std::vector<fs::path> runs_meant(const std::string& argument) {
  const fs::path path = argument;
  std::error_code ignored;
  if (!fs::exists(path, ignored))
    throw ConfigError(
        "{} does not exist: give the folder of a run, a folder of runs, or a configuration",
        argument);
  if (!fs::is_directory(path, ignored)) {
    const fs::path run = load_run_config(argument, {}).run;
    if (is_run_folder(run)) return {run};
    throw ConfigError("{} holds no run yet (`run` of {}): start it with `refract run {}`",
                      run.string(), argument, argument);
  }
  const fs::path folder = path.has_filename() ? path : path.parent_path();
  if (is_run_folder(folder)) return {folder};
  std::vector<fs::path> runs = runs_in(folder);
  if (runs.empty())
    throw ConfigError(
        "{} holds no run, and no folder in it does: give the folder of a run (the configuration's "
        "`run`), a folder of runs, or a configuration",
        argument);
  return runs;
}

class RunLooker::Body {
 public:
  Body(AskQueue ask_queue, const LookTimes& times)
      : ask_queue_(std::move(ask_queue)), times_(times) {}

  RunStanding look(const fs::path& run) {
    Looking looking(run, seen_[run]);
    take_ledger(looking);
    judge(looking);
    take_progress(looking);
    looking.found.disk_free = room_at(run).writable_bytes();
    return std::move(looking.found);
  }

 private:
  struct Looking {
    Looking(const fs::path& run, Memory& seen_before)
        : folder(run_folder(run, "")), seen(seen_before) {
      found.run = run;
    }
    RunFolder folder;
    Memory& seen;
    RunStanding found;
    void problem(const std::string& text) {
      if (!text.empty()) found.problems.push_back(text);
    }
    // What `read` gives; its error is a problem.
    template <typename Read>
    auto try_to(const Read& read) -> decltype(read()) {
      try {
        return read();
      } catch (const std::exception& error) {
        problem(error.what());
        return {};
      }
    }
  };

  // Nothing: Slurm is not there, or does not answer; then it is asked no more in this round.
  std::optional<std::string> queue_state(const std::string& job) {
    const std::string id = slurm_id(job);
    if (id.empty() || !ask_queue_) return std::nullopt;
    const double now_s = monotonic_s();
    const auto known = asked_.find(id);
    if (known != asked_.end() && now_s - known->second.at_s < times_.ask_again_s)
      return known->second.state;
    if (now_s < silent_until_s_) return std::nullopt;
    const std::optional<std::string> state = ask_queue_(id);
    if (!state) silent_until_s_ = monotonic_s() + times_.ask_again_s;
    asked_[id] = {monotonic_s(), state};
    return state;
  }

  void judge(Looking& looking) {
    constexpr int kLooks = 3;  // it may end, or begin, between two files
    for (int again = 0; again < kLooks; ++again) {
      const auto status = looking.try_to([&] { return read_status(looking.folder.status()); });
      if (!status) {
        if (is_there(looking.folder.status()) && looking.found.problems.empty())
          looking.problem(looking.folder.status().string() +
                          " is not a line that refract writes; what the ledger says is shown");
        judge_without_status(looking);
        return;
      }
      take_status(looking, *status);
      if (status->word != "running") {
        judge_ended(looking, *status);
        return;
      }
      if (judge_running(looking)) return;
    }
  }

  static void take_status(Looking& looking, const RunStatus& status) {
    looking.found.job = status.job;
    looking.found.attempt = status.attempt;
    looking.found.code = status.code;
  }

  static void crashed(Looking& looking, const std::string& how,
                      const std::string& what_next = kAgain) {
    RunStanding& found = looking.found;
    found.word = RunWord::crashed;
    found.goes_on = what_next != kAgain;
    found.cause =
        fmt::format("attempt {} ended without saying how: {}; {}", found.attempt, how, what_next);
  }

  // false: what was read does not fit together; to be read again.
  bool judge_running(Looking& looking) {
    RunStanding& found = looking.found;
    found.word = RunWord::running;
    found.goes_on = true;
    const ClaimSight claim = looking.try_to([&] { return look_at_claim(looking.folder.lock()); });
    if (claim.sign == ClaimSight::Sign::absent) return judge_unclaimed(looking);
    remember(looking.seen, claim);
    if (!claim.job.empty() && claim.job != found.job) {
      crashed(looking, "another job has its claim since",
              claim.sign == ClaimSight::Sign::gone
                  ? kAgain
                  : fmt::format("{} goes on with it, or looks at it", claim.owner));
      return true;
    }
    if (claim.sign == ClaimSight::Sign::living) return true;
    if (claim.sign == ClaimSight::Sign::gone) {
      crashed(
          looking,
          fmt::format("its process ({}) is gone: killed by hand, by a limit, or for want of memory",
                      claim.owner));
      return true;
    }
    if (judge_by_queue(looking)) return true;
    judge_by_beats(looking);
    return true;
  }

  bool judge_unclaimed(Looking& looking) {
    RunStanding& found = looking.found;
    if (!found.problems.empty()) return true;  // the claim could not be read: it counts as running
    const auto again = looking.try_to([&] { return read_status(looking.folder.status()); });
    if (!again || again->word != "running" || again->attempt != found.attempt) return false;
    crashed(looking, "nobody has its claim (run.lock)");
    return true;
  }

  static void remember(Memory& seen, const ClaimSight& claim) {
    if (claim.record == seen.claim) return;
    seen.beats = claim.owner == seen.owner;
    seen.owner = claim.owner;
    seen.claim = claim.record;
    seen.since_s = monotonic_s();
  }

  // false: the queue cannot tell.
  bool judge_by_queue(Looking& looking) {
    RunStanding& found = looking.found;
    const std::optional<std::string> state = queue_state(found.job);
    if (!state) return false;
    if (slurm_has_ended(*state)) {
      crashed(looking, fmt::format("job {} has left the queue{}", found.job,
                                   state->empty() ? "" : fmt::format(" ({})", *state)));
    } else if (is_to_start(*state)) {
      found.note = fmt::format("job {} is {} in the queue", found.job, *state);
      crashed(looking, "a failed node, a preemption, or a requeue by hand",
              "its job waits in the queue and goes on with it");
    } else {
      found.note = fmt::format("job {} is {} in the queue", found.job, *state);
    }
    return true;
  }

  // The rule by which another start would take the claim over.
  void judge_by_beats(Looking& looking) const {
    RunStanding& found = looking.found;
    const double still_s = monotonic_s() - looking.seen.since_s;
    if (still_s >= times_.stale_s) {
      crashed(looking, fmt::format("run.lock has not changed for the {} that it was watched",
                                   human_seconds(still_s)));
      return;
    }
    if (looking.seen.beats) return;
    found.note = last_sign(looking.folder.lock());
    if (found.note.empty()) return;
    found.note +=
        "; from here nothing decides whether it runs, `refract status --watch` sees "
        "whether it beats";
  }

  // A claim on a run that does not run: a start that checks its inputs, or a command that looks.
  static void note_owner(Looking& looking) {
    const ClaimSight claim = looking.try_to([&] { return look_at_claim(looking.folder.lock()); });
    if (claim.sign != ClaimSight::Sign::living) return;
    looking.found.note =
        fmt::format("in use by {}: a start that checks its inputs, or a report", claim.owner);
    looking.found.goes_on = true;
  }

  static std::string submitted_job(Looking& looking) {
    return looking.try_to([&] { return read_submitted_job(looking.folder); });
  }

  // The job that was submitted for it, or that asked to be requeued, as the queue has it.
  void note_queue(Looking& looking, const std::string& job) {
    const std::optional<std::string> state = queue_state(job);
    if (!state || slurm_has_ended(*state)) return;
    looking.found.note = fmt::format("job {} is {} in the queue", job, *state);
    looking.found.goes_on = true;
  }

  void judge_ended(Looking& looking, const RunStatus& status) {
    static const std::map<std::string, RunWord> kWords{{"resume", RunWord::stopped},
                                                       {"stuck", RunWord::stuck},
                                                       {"failed", RunWord::failed},
                                                       {"done", RunWord::done}};
    RunStanding& found = looking.found;
    const auto word = kWords.find(status.word);
    if (word == kWords.end())
      looking.problem(fmt::format("{} says '{}', which this refract does not know",
                                  looking.folder.status().string(), status.word));
    found.word = word == kWords.end() ? RunWord::failed : word->second;
    (found.word == RunWord::done ? found.command : found.cause) = status.text;
    const std::string submitted = submitted_job(looking);
    if (!submitted.empty() && submitted != status.job)
      note_queue(looking, submitted);
    else if (found.word == RunWord::stopped)
      note_queue(looking, status.job);
    note_owner(looking);
  }

  void judge_without_status(Looking& looking) {
    RunStanding& found = looking.found;
    const std::vector<AttemptRecord>& attempts = looking.seen.state.attempts;
    if (!attempts.empty()) {
      const AttemptRecord& last = attempts.back();
      found.attempt = last.attempt;
      found.job = last.job;
      if (last.outcome.empty()) {
        if (!judge_running(looking)) crashed(looking, "nobody has its claim (run.lock)");
        return;
      }
      found.word = last.outcome == "done" ? RunWord::done : RunWord::failed;
      if (found.word != RunWord::done) found.cause = last.outcome;
      return;
    }
    const std::string submitted = submitted_job(looking);
    note_owner(looking);
    if (found.goes_on) {
      found.word = RunWord::running;
      found.now = {{.stage = "start", .what = "starting", .share = {}, .rate = {}, .unit = {}}};
      return;
    }
    if (submitted.empty()) return;
    found.job = submitted;
    found.word = RunWord::waiting;
    found.goes_on = true;
    const std::optional<std::string> state = queue_state(submitted);
    if (state && slurm_has_ended(*state)) {
      found.word = RunWord::failed;
      found.goes_on = false;
      found.cause = fmt::format(
          "job {} has left the queue and left no status: its log in {} says why; then submit again",
          submitted, looking.folder.submission().string());
    } else if (state) {
      found.note = fmt::format("job {} is {} in the queue", submitted, *state);
    }
  }

  // Read again only when it has changed.
  static void take_ledger(Looking& looking) {
    const fs::path file = looking.folder.ledger();
    Memory& seen = looking.seen;
    std::error_code none;
    const std::uintmax_t bytes = fs::file_size(file, none);
    if (none) return;
    const fs::file_time_type changed = fs::last_write_time(file, none);
    if (bytes != seen.ledger_bytes || changed != seen.ledger_changed) {
      seen.ledger_bytes = bytes;
      seen.ledger_changed = changed;
      seen.ledger_problem.clear();
      try {
        seen.state = read_ledger(file);
      } catch (const Error& error) {
        seen.state = {};
        seen.ledger_problem = error.what();
      }
    }
    looking.problem(seen.ledger_problem);
  }

  // Of this attempt; else what the ledger says.
  void take_progress(Looking& looking) const {
    RunStanding& found = looking.found;
    for (const AttemptRecord& attempt : looking.seen.state.attempts) {
      if (attempt.attempt != found.attempt) continue;
      found.host = attempt.host;
      found.ranks = attempt.ranks;
    }
    const auto record = looking.try_to([&] { return read_progress(looking.folder.progress()); });
    if (record && found.attempt > 0 && record->attempt == found.attempt &&
        record->job == found.job) {
      take_record(found, *record);
    }
    const fs::path log = looking.folder.submission() / (found.job + ".log");  // where submit has it
    if (found.log.empty() && !found.job.empty() && is_there(log)) found.log = log.string();
    if (!found.share) take_what_is_done(looking);  // also of an attempt that only begins
    if (found.word == RunWord::done) found.share = 1;
  }

  static void take_record(RunStanding& found, const ProgressRecord& record) {
    const bool runs = found.word == RunWord::running;
    found.live = true;
    found.host = record.host;
    found.hosts = record.hosts;
    found.ranks = record.ranks;
    found.command = record.command;
    found.log = record.log;
    found.stages = record.stages;
    found.share = share_of_whole(record.stages);
    found.rates = record.rates;
    found.disk_max_bytes = record.disk_max_bytes;
    found.disk = record.disk;
    if (found.word == RunWord::done) return;
    found.now = record.now;
    if (!runs) return;
    found.left = time_left(record.stages, record.overlaps);
    found.allocation_end = record.allocation_end;
  }

  static void take_what_is_done(Looking& looking) {
    RunStanding& found = looking.found;
    if (!is_there(looking.folder.run_yaml())) return;
    const auto config = looking.try_to(
        [&] { return std::optional(read_frozen(looking.folder.run_yaml()).config); });
    if (!config) return;
    const RunState& state = looking.seen.state;
    found.disk_max_bytes = config->disk.max_bytes.value;
    if (looking.seen.ledger_bytes == 0 || !looking.seen.ledger_problem.empty()) return;
    if (!found.live) found.disk = {{"chunks", state.sealed_bytes}};
    found.stages = stages_of(*config, state);
    found.share = share_of_whole(found.stages);
  }

  static std::vector<StageProgress> stages_of(const RunConfig& config, const RunState& state) {
    const auto known = [](std::uint64_t count) {
      return count > 0 ? std::optional(count) : std::nullopt;
    };
    const std::uint64_t visits =
        state.visits > 0 ? state.visits
                         : plan_training(config, order_rule(config), std::nullopt).visits;
    const std::uint64_t chunks = visits / std::max<std::uint64_t>(1, config.train.corpus_passes);
    const std::uint64_t trained = state.visits_done(sae_names(config));
    const std::uint64_t sealed = state.sealed.empty() ? 0 : state.sealed.rbegin()->first + 1;
    const auto finished = [&](std::string_view stage) {
      return static_cast<std::uint64_t>(std::ranges::count_if(
          state.finished, [&](const auto& part) { return part.first.starts_with(stage); }));
    };
    const auto stage = [](const char* word, std::uint64_t done, std::optional<std::uint64_t> of) {
      return StageProgress{.stage = word, .done = done, .of = of, .part = 0, .unit_s = {}};
    };
    return {stage("extract", std::min(std::max(trained, sealed), chunks), known(chunks)),
            stage("train", trained, known(visits)),
            stage("evaluate", finished("evaluate/"), config.saes.size()),
            stage("probe", finished("probe/"), config.saes.size())};
  }

  struct Asked {
    double at_s = 0;
    std::optional<std::string> state;
  };
  AskQueue ask_queue_;
  LookTimes times_;
  std::map<fs::path, Memory> seen_;
  std::map<std::string, Asked> asked_;
  double silent_until_s_ = 0;
};

RunLooker::RunLooker(AskQueue ask_queue, const LookTimes& times)
    : body_(std::make_unique<Body>(std::move(ask_queue), times)) {}
RunLooker::~RunLooker() = default;

RunStanding RunLooker::look(const fs::path& run) { return body_->look(run); }

}  // namespace refract
