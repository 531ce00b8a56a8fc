#include "app/launch.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>

#include "app/launch_output.hpp"
#include "refract/base/command.hpp"
#include "refract/comm/environment.hpp"

namespace refract {
namespace {

LaunchSite site(Launcher launcher, int cores) {
  LaunchSite site;
  site.launcher = launcher;
  site.launcher_path = launcher == Launcher::srun ? "srun" : "mpirun";
  site.binary = "refract";
  site.cores = cores;
  return site;
}

std::string command(const LaunchSite& at, int ranks) {
  return as_shell_line(launch_command(at, ranks, {"run", "a.yaml"}));
}

TEST(LaunchCommand, divides_the_cores_and_permits_no_more_ranks_than_cores) {
  EXPECT_EQ(
      command(site(Launcher::open_mpi_4, 8), 4),
      "mpirun --use-hwthread-cpus --bind-to none -x OMP_NUM_THREADS=2 -n 4 refract run a.yaml");
  EXPECT_EQ(command(site(Launcher::open_mpi_5, 8), 4),
            "mpirun --map-by :HWTCPUS --bind-to none -x OMP_NUM_THREADS=2 -n 4 refract run a.yaml");
}

TEST(LaunchCommand, oversubscribes_politely) {
  EXPECT_EQ(command(site(Launcher::open_mpi_4, 2), 4),
            "mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 -x "
            "OMP_NUM_THREADS=1 -x OMP_WAIT_POLICY=passive -n 4 refract run a.yaml");
}

TEST(LaunchCommand, leaves_threads_that_were_given) {
  LaunchSite given = site(Launcher::open_mpi_4, 8);
  given.threads = 3;
  EXPECT_EQ(command(given, 2).find("OMP_NUM_THREADS"), std::string::npos);
  EXPECT_NE(command(given, 4).find("OMP_WAIT_POLICY=passive"), std::string::npos);  // 4 x 3 > 8
  given.threads = 0;
  given.threads_in_env = true;
  EXPECT_NE(command(given, 2).find("-x OMP_NUM_THREADS -n"), std::string::npos);
}

TEST(LaunchCommand, says_root_only_to_root_and_avoids_a_forbidden_system_call) {
  LaunchSite container = site(Launcher::open_mpi_4, 4);
  container.root = true;
  container.single_copy = false;
  const std::string line = command(container, 2);
  EXPECT_NE(line.find("--allow-run-as-root"), std::string::npos);
  EXPECT_NE(line.find("--mca btl_vader_single_copy_mechanism none"), std::string::npos);
}

TEST(LaunchCommand, leaves_placement_to_an_allocation) {
  LaunchSite allocation = site(Launcher::open_mpi_4, 64);
  allocation.slots = 4;
  allocation.cores_of_slot = 16;
  EXPECT_EQ(command(allocation, 4),
            "mpirun --bind-to none -x OMP_NUM_THREADS=16 -n 4 refract run a.yaml");
  allocation.launcher = Launcher::srun;
  allocation.launcher_path = "srun";
  EXPECT_EQ(command(allocation, 4),
            "srun --kill-on-bad-exit=1 --mpi=pmix --export=ALL,OMP_NUM_THREADS=16 "
            "--cpus-per-task=16 -n 4 refract run a.yaml");
}

TEST(ExpectRanks, refuses_another_number_than_there_is) {
  CommandLine line;
  line.ranks = 4;
  EXPECT_THROW(expect_ranks(line, 2), ConfigError);
  EXPECT_NO_THROW(expect_ranks(line, 4));
  line.dry_run = true;
  EXPECT_NO_THROW(expect_ranks(line, 1));
}

// An environment without a launcher's variables but those that a test sets.
class LaunchedWorld : public ::testing::Test {
 protected:
  static constexpr std::array kNames{"OMPI_COMM_WORLD_RANK",
                                     "OMPI_COMM_WORLD_SIZE",
                                     "PMIX_RANK",
                                     "PMIX_NAMESPACE",
                                     "PMI_RANK",
                                     "PMI_SIZE",
                                     "SLURM_PROCID",
                                     "SLURM_STEP_NUM_TASKS"};
  LaunchedWorld() { clear(); }
  ~LaunchedWorld() override { clear(); }
  static void clear() {
    for (const char* name : kNames) ::unsetenv(name);
  }
};

TEST_F(LaunchedWorld, is_not_made_by_a_variable_left_in_a_shell) {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    ::setenv(name, "0", 1);
    EXPECT_FALSE(launched_by()) << name;
    clear();
  }
  ::setenv("SLURM_PROCID", "0", 1);
  ::setenv("SLURM_STEP_NUM_TASKS", "1", 1);
  EXPECT_FALSE(launched_by()) << "a step of one task";
  ::setenv("PMI_RANK", "99999999999999999999", 1);
  ::setenv("PMI_SIZE", "2", 1);
  EXPECT_FALSE(launched_by()) << "a rank that is no number";
}

TEST_F(LaunchedWorld, is_named_by_the_variable_that_says_the_rank) {
  ::setenv("PMI_RANK", "3", 1);
  ::setenv("PMI_SIZE", "4", 1);
  ASSERT_TRUE(launched_by());
  EXPECT_EQ(launched_by()->rank, 3);
  CommandLine line;
  line.ranks = 2;
  try {
    expect_ranks(line, 1);
    FAIL() << "another number of ranks was taken";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("unset PMI_RANK"), std::string::npos) << error.what();
  }
}

const std::string kRule(74, '-');

std::string shown(LauncherOutput& output, std::initializer_list<std::string> lines) {
  std::string text;
  for (const std::string& line : lines)
    if (const auto show = output.take(line)) text += *show + "\n";
  return text;
}

TEST(LauncherOutput, a_failing_ranks_line_is_all_that_is_shown) {
  LauncherOutput output;
  EXPECT_EQ(shown(output, {kRule, "MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD",
                           "refract[1] a: disk full", "with errorcode 4.", kRule}),
            "refract[1] a: disk full\n");
  const LauncherOutput::End end = output.end(4, false);
  EXPECT_EQ(end.exit_code, 4);
  EXPECT_EQ(end.text, "");
}

TEST(LauncherOutput, a_killed_rank_gets_the_line_it_could_not_write) {
  for (const char* launcher : {"mpirun", "prterun"}) {
    LauncherOutput output;
    EXPECT_EQ(
        shown(
            output,
            {kRule, "Primary job  terminated normally, but 1 process returned",
             "a non-zero exit code.", kRule, kRule,
             std::string(launcher) +
                 " noticed that process rank 2 with PID 0 on node b7 exited on signal 9 (Killed).",
             kRule}),
        "");
    const LauncherOutput::End end = output.end(137, false);
    EXPECT_EQ(end.exit_code, 4);
    EXPECT_EQ(end.text,
              "refract[2] b7: killed by signal 9 (out of memory, or by hand); start the same "
              "command again, it resumes");
  }
  LauncherOutput srun;
  EXPECT_EQ(shown(srun, {"srun: error: b7: task 2: Killed"}), "");
  EXPECT_TRUE(srun.end(137, false).text.starts_with("refract[2] b7: killed by signal 9"));
}

TEST(LauncherOutput, a_crash_keeps_its_stack) {
  LauncherOutput output;
  EXPECT_EQ(shown(output, {"[b7:91] *** Process received signal ***", "[b7:91] [ 0] libc.so", kRule,
                           "mpirun noticed that process rank 1 with PID 91 on node b7 exited on "
                           "signal 11 (Segmentation fault).",
                           kRule}),
            "");
  const std::string text = output.end(139, false).text;
  EXPECT_TRUE(text.starts_with("[b7:91] *** Process received signal ***\n[b7:91] [ 0] libc.so"))
      << text;
  EXPECT_NE(text.find("\nrefract[1] b7: killed by signal 11 (a defect"), std::string::npos) << text;
}

TEST(LauncherOutput, what_no_rank_explains_is_shown_in_full) {
  LauncherOutput output;
  EXPECT_EQ(shown(output, {kRule, "There are not enough slots available", kRule}),
            "There are not enough slots available\n");
  const LauncherOutput::End end = output.end(1, false);
  EXPECT_EQ(end.exit_code, 4);
  EXPECT_NE(end.text.find("ended with code 1"), std::string::npos);
}

TEST(LauncherOutput, a_stop_is_no_failure) {
  LauncherOutput output;
  EXPECT_EQ(shown(output, {"mpirun: Forwarding signal 10 to job"}), "");
  EXPECT_EQ(output.end(85, true).exit_code, 85);
  EXPECT_EQ(output.end(85, true).text, "");
  LauncherOutput early;
  EXPECT_EQ(early.end(128 + 10, true).exit_code, 85);
}

TEST(LauncherOutput, passes_on_what_the_ranks_say) {
  LauncherOutput output;
  EXPECT_EQ(shown(output, {"refract: warning: x", "anything else"}),
            "refract: warning: x\nanything else\n");
}

}  // namespace
}  // namespace refract
