// How runs stand, from the files of folders made by hand.
#include "refract/pipeline/run_status.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/pipeline/ledger.hpp"
#include "refract/pipeline/run_folder.hpp"
#include "refract/store/claim.hpp"
#include "unit/base/scratch.hpp"

namespace refract {
namespace {

const std::string kElsewhere =
    "host n7 pid 12 start 5 boot 0-0 pid_namespace 9 job {} token cafe counter {:020}\n";

class RunStatusTest : public testing::Test {
 protected:
  fs::path root_ = test::scratch("refract_run_status");
  fs::path run_ = root_ / "run";
  std::map<std::string, std::optional<std::string>> queue_;  // what squeue says
  std::vector<std::string> asked_;
  RunLooker looker_ = RunLooker(
      [this](const std::string& job) -> std::optional<std::string> {
        asked_.push_back(job);
        const auto found = queue_.find(job);
        return found == queue_.end() ? std::nullopt : found->second;
      },
      {.stale_s = 1e9, .ask_again_s = 0});

  RunStatusTest() { fs::create_directories(run_); }

  void status(const std::string& line) { write_file(run_ / "status", line + "\n"); }
  void claim_elsewhere(const std::string& job, int counter = 1) {
    write_file(run_ / "run.lock", fmt::format(fmt::runtime(kElsewhere), job, counter));
  }
  // The record of a process of this machine that has ended.
  void claim_of_the_dead(const std::string& job) {
    fs::remove(run_ / "run.lock");
    const pid_t child = ::fork();
    if (child == 0) {
      std::string owner;
      const std::optional<Claim> claim = Claim::try_take(run_ / "run.lock", job, owner);
      ::_exit(claim ? 0 : 1);  // no destructor: as a kill leaves it
    }
    int code = 0;
    ASSERT_EQ(::waitpid(child, &code, 0), child);
    ASSERT_EQ(code, 0);
  }
  void ledger_with_attempt(const std::string& job) {
    Ledger ledger(run_ / "ledger.jsonl");
    ledger.attempt_started({.attempt = 1,
                            .job = job,
                            .host = "n7",
                            .started = "2026-11-29T10:00:00Z",
                            .ended = "",
                            .outcome = "",
                            .ranks = 4});
  }
  void progress(std::uint64_t attempt, const std::string& job) {
    ProgressRecord record;
    record.attempt = attempt;
    record.job = job;
    record.host = "node7";
    record.hosts = 2;
    record.ranks = 8;
    record.command = "run";
    record.log = "runs/gpt2/submit/slurm-4711.log";
    record.now = {
        {.stage = "train", .what = "train 5 of 12", .share = 0.62, .rate = 41200, .unit = "rows"}};
    record.stages = {{.stage = "extract", .done = 5, .of = 12, .part = 0, .unit_s = 60},
                     {.stage = "train", .done = 4, .of = 12, .part = 0.62, .unit_s = 100}};
    record.rates = {{"train", 41200}};
    record.disk_max_bytes = std::uint64_t{100} << 30;
    record.disk = {{"chunks", std::uint64_t{12} << 30}};
    write_progress(run_ / "progress.json", record);
  }
  RunStanding look() { return looker_.look(run_); }
};

TEST_F(RunStatusTest, an_ended_attempt_says_how_and_why) {
  struct Row {
    std::string status;
    RunWord word;
    std::string cause;
  };
  for (const Row& row :
       {Row{"resume pid-7 3 85 stopped by SIGTERM", RunWord::stopped, "stopped by SIGTERM"},
        Row{"stuck pid-7 3 85 nothing was made", RunWord::stuck, "nothing was made"},
        Row{"failed pid-7 3 4 disk full", RunWord::failed, "disk full"},
        Row{"done pid-7 3 0 run", RunWord::done, ""}}) {
    status(row.status);
    const RunStanding found = look();
    EXPECT_EQ(found.word, row.word) << row.status;
    EXPECT_EQ(found.cause, row.cause);
    EXPECT_EQ(found.attempt, 3u);
    EXPECT_EQ(found.job, "pid-7");
    EXPECT_FALSE(found.goes_on);
    EXPECT_TRUE(found.problems.empty());
  }
  EXPECT_EQ(look().command, "run");
  EXPECT_EQ(look().share, 1.0);
  EXPECT_TRUE(asked_.empty());
}

TEST_F(RunStatusTest, a_process_of_this_machine_decides_at_once) {
  status("running pid-7 2");
  progress(2, "pid-7");
  {
    std::string owner;
    const auto claim = Claim::try_take(run_ / "run.lock", "pid-7", owner);
    ASSERT_TRUE(claim);
    const RunStanding found = look();
    EXPECT_EQ(found.word, RunWord::running);
    EXPECT_TRUE(found.goes_on);
    EXPECT_EQ(found.now.front().what, "train 5 of 12");
    EXPECT_EQ(found.left->seconds, 7 * 60 + 7.38 * 100);
    EXPECT_TRUE(found.note.empty());
  }
  const RunStanding released = look();  // ended, and did not say how
  EXPECT_EQ(released.word, RunWord::crashed);

  claim_of_the_dead("pid-7");
  const RunStanding found = look();
  EXPECT_EQ(found.word, RunWord::crashed);
  EXPECT_FALSE(found.goes_on);
  EXPECT_NE(found.cause.find("attempt 2 ended without saying how"), std::string::npos);
  EXPECT_NE(found.cause.find("start the same command again"), std::string::npos);
  EXPECT_FALSE(found.left);
  EXPECT_TRUE(asked_.empty());
}

TEST_F(RunStatusTest, on_another_machine_the_queue_decides) {
  status("running slurm-4711 2");
  claim_elsewhere("slurm-4711");

  queue_["4711"] = "RUNNING";
  EXPECT_EQ(look().word, RunWord::running);
  EXPECT_NE(look().note.find("RUNNING"), std::string::npos);

  for (const char* gone : {"", "COMPLETED", "NODE_FAIL", "CANCELLED"}) {
    queue_["4711"] = gone;
    const RunStanding found = look();
    EXPECT_EQ(found.word, RunWord::crashed) << gone;
    EXPECT_FALSE(found.goes_on);
    EXPECT_NE(found.cause.find("slurm-4711 has left the queue"), std::string::npos);
  }
  queue_["4711"] = "PENDING";
  const RunStanding found = look();
  EXPECT_EQ(found.word, RunWord::crashed);
  EXPECT_TRUE(found.goes_on);
  EXPECT_NE(found.note.find("PENDING"), std::string::npos);
}

TEST_F(RunStatusTest, a_crash_is_never_said_from_the_age_of_a_file) {
  for (const char* job : {"slurm-4711", "pid-7"}) {
    status(fmt::format("running {} 2", job));
    claim_elsewhere(job);
    fs::last_write_time(run_ / "run.lock",
                        fs::file_time_type::clock::now() - std::chrono::hours(100));
    const RunStanding found = look();
    EXPECT_EQ(found.word, RunWord::running) << job;
    EXPECT_NE(found.note.find("last sign of life"), std::string::npos);
    EXPECT_NE(found.note.find("by this host's clock"), std::string::npos);
  }
}

TEST_F(RunStatusTest, what_is_watched_beats_or_does_not) {
  status("running pid-7 2");
  claim_elsewhere("pid-7", 1);
  RunLooker patient([](const std::string&) { return std::nullopt; });
  EXPECT_FALSE(patient.look(run_).note.empty());
  claim_elsewhere("pid-7", 2);
  EXPECT_TRUE(patient.look(run_).note.empty());
  EXPECT_EQ(patient.look(run_).word, RunWord::running);

  RunLooker impatient([](const std::string&) { return std::nullopt; }, {.stale_s = 0});
  const RunStanding found = impatient.look(run_);
  EXPECT_EQ(found.word, RunWord::crashed);
  EXPECT_NE(found.cause.find("run.lock has not changed"), std::string::npos);
}

TEST_F(RunStatusTest, another_jobs_claim_ends_the_attempt) {
  status("running slurm-4711 2");
  claim_elsewhere("slurm-4712");
  queue_["4711"] = "RUNNING";
  const RunStanding found = look();
  EXPECT_EQ(found.word, RunWord::crashed);
  EXPECT_TRUE(found.goes_on);
  EXPECT_NE(found.cause.find("slurm-4712"), std::string::npos);
  claim_of_the_dead("slurm-4713");
  EXPECT_FALSE(look().goes_on);
  EXPECT_NE(look().cause.find("start the same command again"), std::string::npos);
}

TEST_F(RunStatusTest, a_submitted_run_waits_until_its_job_has_left_the_queue) {
  fs::create_directories(run_ / "submit");
  write_file(run_ / "submit" / "job", "slurm-4711\n");

  EXPECT_EQ(look().word, RunWord::waiting);
  EXPECT_TRUE(look().goes_on);
  queue_["4711"] = "PENDING";
  EXPECT_EQ(look().word, RunWord::waiting);
  EXPECT_NE(look().note.find("PENDING"), std::string::npos);
  queue_["4711"] = "";
  EXPECT_EQ(look().word, RunWord::failed);
  EXPECT_FALSE(look().goes_on);
  EXPECT_EQ(look().log, "");
  write_file(run_ / "submit" / "slurm-4711.log", "");
  EXPECT_EQ(look().log, (run_ / "submit" / "slurm-4711.log").string());
}

TEST_F(RunStatusTest, a_stopped_run_whose_job_is_queued_goes_on) {
  status("resume slurm-4711 2 85 stopped ahead of the end of the allocation");
  EXPECT_FALSE(look().goes_on);
  queue_["4711"] = "PENDING";
  const RunStanding found = look();
  EXPECT_EQ(found.word, RunWord::stopped);
  EXPECT_TRUE(found.goes_on);

  queue_.clear();
  fs::create_directories(run_ / "submit");
  write_file(run_ / "submit" / "job", "slurm-4800");  // submitted again since
  queue_["4800"] = "PENDING";
  EXPECT_TRUE(look().goes_on);
  EXPECT_NE(look().note.find("slurm-4800"), std::string::npos);
}

TEST_F(RunStatusTest, the_queue_that_does_not_answer_is_not_asked_run_after_run) {
  RunLooker looker(
      [this](const std::string& job) -> std::optional<std::string> {
        asked_.push_back(job);
        return std::nullopt;
      },
      {.stale_s = 1e9, .ask_again_s = 1e9});
  for (const char* job : {"slurm-1", "slurm-2", "slurm-3"}) {
    status(fmt::format("running {} 1", job));
    claim_elsewhere(job);
    EXPECT_EQ(looker.look(run_).word, RunWord::running);
  }
  EXPECT_EQ(asked_, std::vector<std::string>{"1"});
}

TEST_F(RunStatusTest, an_attempt_without_progress_has_what_the_ledger_says) {
  status("failed pid-7 1 4 disk full");
  ledger_with_attempt("pid-7");
  progress(9, "pid-6");  // of another
  const RunStanding found = look();
  EXPECT_FALSE(found.live);
  EXPECT_EQ(found.host, "n7");
  EXPECT_EQ(found.ranks, 4);
  EXPECT_TRUE(found.now.empty());
}

TEST_F(RunStatusTest, what_is_damaged_is_one_line_and_hides_nothing_else) {
  status("failed pid-7 2 4 disk full");
  progress(2, "pid-7");
  write_file(run_ / "ledger.jsonl", "nonsense\n");
  RunStanding found = look();
  EXPECT_EQ(found.word, RunWord::failed);
  EXPECT_EQ(found.now.front().what, "train 5 of 12");
  ASSERT_EQ(found.problems.size(), 1u);
  EXPECT_NE(found.problems.front().find("ledger.jsonl"), std::string::npos);

  fs::remove(run_ / "ledger.jsonl");
  write_file(run_ / "progress.json", "{");
  found = look();
  EXPECT_EQ(found.cause, "disk full");
  ASSERT_EQ(found.problems.size(), 1u);
  EXPECT_NE(found.problems.front().find("progress.json"), std::string::npos);

  fs::remove(run_ / "progress.json");
  write_file(run_ / "status", "resume\n");
  found = look();
  ASSERT_EQ(found.problems.size(), 1u);
  EXPECT_NE(found.problems.front().find("status"), std::string::npos);
}

TEST_F(RunStatusTest, an_argument_means_a_run_or_the_runs_in_a_folder) {
  status("done pid-7 1 0 run");
  fs::create_directories(root_ / "another");
  write_file(root_ / "another" / "ledger.jsonl", "");
  fs::create_directories(root_ / "nothing");

  EXPECT_EQ(runs_meant(run_.string()), std::vector<fs::path>{run_});
  EXPECT_EQ(runs_meant(run_.string() + "/"), std::vector<fs::path>{run_});
  EXPECT_EQ(runs_meant(root_.string()), (std::vector<fs::path>{root_ / "another", run_}));
  EXPECT_THROW((void)runs_meant((root_ / "nothing").string()), ConfigError);
  EXPECT_THROW((void)runs_meant((root_ / "absent").string()), ConfigError);
}

RunStanding standing(const fs::path& run, RunWord word) {
  RunStanding found;
  found.run = run;
  found.word = word;
  found.attempt = 3;
  found.job = "slurm-4711";
  return found;
}

TEST(StandingText, of_one_run_is_a_block) {
  RunStanding found = standing("runs/gpt2", RunWord::running);
  found.host = "node7";
  found.hosts = 2;
  found.ranks = 8;
  found.live = true;
  found.now = {
      {.stage = "train", .what = "train 5 of 12", .share = 0.62, .rate = 41200, .unit = "rows"}};
  found.share = 0.414;
  found.left = TimeLeft{7800, ""};
  found.disk = {{"chunks", std::uint64_t{12} << 30}};
  found.disk_max_bytes = std::uint64_t{100} << 30;
  found.disk_free = std::uint64_t{1} << 40;
  found.log = "runs/gpt2/submit/slurm-4711.log";

  EXPECT_EQ(describe_standing(found),
            "runs/gpt2   running   attempt 3 of job slurm-4711 on node7 (+1), 8 ranks\n"
            "  stage     train 5 of 12 (62 %), whole run 41 %\n"
            "  rate      41.2 k rows/s; about 2 h 10 min left\n"
            "  disk      12.0 GiB of 100.0 GiB (disk.max_bytes); file system: 1.0 TiB free\n"
            "  log       runs/gpt2/submit/slurm-4711.log\n");
}

TEST(StandingText, of_several_is_a_table_that_fits_a_hundred_columns) {
  RunStanding running = standing("runs/a", RunWord::running);
  running.now = {
      {.stage = "train", .what = "train 5 of 12", .share = 0.62, .rate = 41200, .unit = "rows"}};
  running.share = 0.999;
  running.left = TimeLeft{7800, "train"};
  RunStanding failed = standing("runs/a-folder-with-a-long-name-of-many-words/b", RunWord::failed);
  failed.cause = "disk full while writing " + std::string(200, 'x');
  failed.problems = {"runs/b/ledger.jsonl:1: damaged"};
  const RunStanding done = standing("runs/c", RunWord::done);

  const std::string text = describe_standings({running, failed, done});

  std::size_t lines = 0;
  for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    EXPECT_LE(end - at, 100u);
    ++lines;
  }
  EXPECT_EQ(lines, 6u);
  EXPECT_NE(text.find("train 5 of 12 (62 %)"), std::string::npos);
  EXPECT_NE(text.find(" 99 %"), std::string::npos);  // 100 is for what is done
  EXPECT_NE(text.find("-of-many-words/b "), std::string::npos);
  EXPECT_NE(text.find("3 runs: 1 running, 1 done, 1 failed\n"), std::string::npos);
  EXPECT_NE(text.find("problem in runs/a-folder"), std::string::npos);
}

TEST(StandingText, for_programs_is_json_with_the_same_words) {
  RunStanding failed = standing("runs/\xff", RunWord::failed);
  failed.code = 4;
  failed.cause = "disk \"full\"";
  const auto json = nlohmann::json::parse(standings_json({failed}, false));
  EXPECT_EQ(json["schema"], "refract.status");
  const auto& run = json["runs"][0];
  EXPECT_EQ(run["state"], "failed");
  EXPECT_EQ(run["code"], 4);
  EXPECT_EQ(run["cause"], "disk \"full\"");
  EXPECT_FALSE(run.contains("left_s"));
  EXPECT_EQ(standings_json({failed, failed}, true).find('\n'),
            standings_json({failed, failed}, true).size() - 1);
}

}  // namespace
}  // namespace refract
