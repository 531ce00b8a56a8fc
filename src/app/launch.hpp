#pragma once
// `--ranks N`: starts N ranks of this very binary through the machine's launcher and stands between
// it and the user: forwards signals, shortens its messages, hands on the exit code.
#include <string>
#include <vector>

#include "refract/app/command_table.hpp"

namespace refract {

// Whether a launcher (mpirun, srun with several tasks) already started this process.
[[nodiscard]] bool in_launched_world();

// ConfigError when --ranks was given and is not the number of ranks there are. Plans (--dry-run)
// are for any number.
void expect_ranks(const CommandLine& line, int ranks);

// Before MPI is initialised. In a step of srun without PMI (SystemError where it has several tasks,
// as below) Open MPI 4 ends the process within MPI_Init; a task alone, as in `srun --pty bash`, is
// a world of one where Open MPI does not see the step.
void prepare_for_srun();
// SystemError when srun started more tasks than MPI sees: each would run alone, on the same files.
// One task says it.
void expect_one_world(int ranks);

enum class Launcher { open_mpi_4, open_mpi_5, srun };

struct LaunchSite {
  Launcher launcher = Launcher::open_mpi_4;
  std::string launcher_path;    // as found in PATH
  std::string binary;           // this program
  int cores = 1;                // that the ranks may use together
  int slots = 0;                // tasks of the allocation we are in; 0 = none
  int cores_of_slot = 0;        // SLURM_CPUS_PER_TASK; 0 = not said
  int threads = 0;              // --threads; 0 = not given
  bool threads_in_env = false;  // OMP_NUM_THREADS is set
  bool root = false;
  bool single_copy = true;  // the system call behind Open MPI's single-copy path is allowed here
  bool pmix = true;         // srun: its list of MPI types names pmix
};

// The words of the command. arguments: this program's own, without its name.
[[nodiscard]] std::vector<std::string> launch_command(const LaunchSite& site, int ranks,
                                                      const std::vector<std::string>& arguments);

// Starts the ranks, waits for them, returns the job's exit code. SystemError when no launcher is
// found.
[[nodiscard]] int launch(const CommandLine& line, int argc, char** argv);

}  // namespace refract
