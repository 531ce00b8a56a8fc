#include "refract/base/command.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <fstream>

#include "refract/base/progress.hpp"
#include "refract/base/slurm.hpp"
#include "unit/base/scratch.hpp"

namespace refract {
namespace {

TEST(Command, gives_what_was_said_and_the_code) {
  const auto answer = ask({"sh", "-c", "echo out; echo err >&2; exit 3"}, 60);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->code, 3);
  EXPECT_EQ(answer->text, "out\nerr\n");
}

TEST(Command, is_nothing_where_the_program_is_nowhere) {
  EXPECT_FALSE(ask({"no-such-program-of-ours"}, 60));
}

TEST(Command, does_not_wait_beyond_its_limit_and_leaves_nothing_behind) {
  const double began_s = monotonic_s();
  EXPECT_FALSE(ask({"sh", "-c", "echo begun; sleep 1000 & sleep 1000"}, 0.2));
  EXPECT_LT(monotonic_s() - began_s, 500);
}

TEST(Command, quotes_for_a_shell) {
  EXPECT_EQ(as_shell_line({"refract", "run", "my file.yaml", "--set", "saes.*.k=8", "it's", ""}),
            R"(refract run 'my file.yaml' --set 'saes.*.k=8' 'it'\''s' '')");
}

// Slurm's variables, and a squeue of our own.
class Slurm : public testing::Test {
 protected:
  Slurm() {
    for (const char* name : {"SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID",
                             "SLURM_JOB_END_TIME", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"})
      ::unsetenv(name);
    path_ = std::getenv("PATH");
  }
  ~Slurm() override { ::setenv("PATH", path_.c_str(), 1); }
  void squeue(const std::string& body) {
    const fs::path file = scratch_ / "squeue";
    std::ofstream(file) << "#!/bin/sh\n" << body << "\n";
    fs::permissions(file, fs::perms::owner_all);
    ::setenv("PATH", (scratch_.string() + ":" + path_).c_str(), 1);
  }

 private:
  fs::path scratch_ = test::scratch("refract_slurm");
  std::string path_;
};

TEST_F(Slurm, names_a_member_of_an_array_by_array_and_task) {
  EXPECT_FALSE(slurm_job());
  ::setenv("SLURM_JOB_ID", "12", 1);
  EXPECT_EQ(slurm_job(), "12");
  ::setenv("SLURM_ARRAY_JOB_ID", "10", 1);
  ::setenv("SLURM_ARRAY_TASK_ID", "3", 1);
  EXPECT_EQ(slurm_job(), "10_3");
}

TEST_F(Slurm, knows_the_end_of_the_allocation_by_its_variable_or_by_asking) {
  EXPECT_FALSE(slurm_job_end());
  ::setenv("SLURM_JOB_ID", "12", 1);
  squeue("[ \"$3\" = 12 ] && echo 1:00:00");
  const auto asked = slurm_job_end();
  ASSERT_TRUE(asked);
  EXPECT_NEAR(static_cast<double>(*asked), static_cast<double>(std::time(nullptr)) + 3600, 600);
  squeue("echo UNLIMITED");
  EXPECT_FALSE(slurm_job_end());
  squeue("echo 'slurm_load_jobs error: Unable to contact slurm controller'; exit 1");
  EXPECT_FALSE(slurm_job_end());
  ::setenv("SLURM_JOB_END_TIME", "1700000000", 1);
  EXPECT_EQ(slurm_job_end(), 1700000000);
}

TEST_F(Slurm, reads_the_times_that_squeue_prints) {
  EXPECT_EQ(slurm_time_left_s("1-12:00:30"), 129630);
  EXPECT_EQ(slurm_time_left_s("4:00:00"), 14400);
  EXPECT_EQ(slurm_time_left_s("2:05"), 125);
  EXPECT_EQ(slurm_time_left_s("0:00"), 0);
  for (const char* text : {"", "UNLIMITED", "INVALID", "NOT_SET", "1:2:3:4", "-1:00"})
    EXPECT_FALSE(slurm_time_left_s(text)) << text;
}

TEST_F(Slurm, knows_a_job_that_has_left_the_queue_from_a_queue_that_does_not_answer) {
  squeue("echo RUNNING");
  EXPECT_EQ(slurm_state_of("12"), "RUNNING");
  squeue("");
  EXPECT_EQ(slurm_state_of("12"), "");
  squeue("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1");
  EXPECT_EQ(slurm_state_of("12"), "");
  squeue("echo 'Unable to contact slurm controller' >&2; exit 1");
  EXPECT_FALSE(slurm_state_of("12"));
}

}  // namespace
}  // namespace refract
