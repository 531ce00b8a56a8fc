// refract: one binary, one word per stage. Only here are exceptions turned into one line and an
// exit code.
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>

#include "app/launch.hpp"
#include "refract/app/command_table.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/machine.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/slurm.hpp"
#include "refract/base/stop.hpp"
#include "refract/comm/environment.hpp"
#include "refract/store/begin.hpp"

namespace {

// What one rank finds wrong, all often do: rank 0 gets the time to say it alone and end the job.
// true: it did, or another signal came while we gave it that time.
bool rank_zero_ended_the_job() {
  constexpr timespec kAfterRankZero{.tv_sec = 1, .tv_nsec = 0};
  return refract::Environment::known_rank() != 0 && ::nanosleep(&kAfterRankZero, nullptr) != 0;
}

int fail(const refract::Environment* environment, int code, const char* text) {
  if (rank_zero_ended_the_job()) std::_Exit(code);
  fmt::print(stderr, "refract[{}] {}: {}\n", refract::Environment::known_rank(),
             refract::host_name(), text);
  std::fflush(stderr);
  std::fflush(stdout);
  if (environment && environment->world_size() > 1) refract::Environment::abort(code);
  return code;
}

// A thread of libgomp that waits spins for milliseconds by default. Where anything else wants the
// cores (another rank, a compiler, a second job on a laptop) that makes a run ten times slower, and
// it gains nothing where nothing does. The library reads its setting when it is loaded, so the
// program starts itself once more with it.
void let_waiting_threads_yield(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
  ::setenv("GOMP_SPINCOUNT", "1000", 1);
  ::execv(refract::this_program().c_str(), argv);  // where it fails, all goes on as it was
}

bool runs_on_ranks(const refract::Command& command, const refract::CommandLine& line) {
  if (line.print_config || line.dry_run) return false;
  return command.mpi == refract::Mpi::always || (command.mpi == refract::Mpi::if_launched &&
                                                 (line.ranks > 1 || refract::in_launched_world()));
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_yield(argv);
  // A write beyond a file size limit then fails with EFBIG, and is one line like any other failure.
  std::signal(SIGXFSZ, SIG_IGN);
  std::unique_ptr<refract::Environment> environment;
  try {
    refract::CommandLine line = refract::parse_command_line(argc, argv);  // 1. arguments
    const refract::Command* command = refract::find_command(line.command);
    if (line.version) {
      fmt::print("refract {}\n", refract::kVersion);
      return 0;
    }
    if (line.command.empty()) {
      fmt::print("{}", refract::usage());
      return line.help ? 0 : 2;
    }
    if (!command)
      throw refract::ConfigError("no command '{}'. `refract --help` lists them.", line.command);
    if (line.help) {
      fmt::print("{}", refract::usage_of(*command));
      return 0;
    }
    refract::set_quiet(line.quiet || line.json);                    // nothing beside the JSON
    if (line.threads > 0) refract::set_thread_count(line.threads);  // 2. threads
    const bool distributed = runs_on_ranks(*command, line);
    if (distributed && line.ranks > 1 && !refract::in_launched_world())  // 3. ranks
      return refract::launch(line, argc, argv);
    if (distributed) {  // 4. MPI
      refract::prepare_for_srun();
      if (refract::in_launched_world())
        refract::install_stop_handlers();  // a signal may come during MPI_Init
      if (refract::has_option(*command, "stop-after") && refract::Environment::known_rank() == 0)
        line.time.allocation_end = refract::slurm_job_end();
      refract::begin_hdf5();
      environment = std::make_unique<refract::Environment>(argc, argv);
    }
    const int ranks = environment ? environment->world_size() : 1;
    if (environment) refract::expect_one_world(ranks);
    refract::expect_ranks(line, ranks);
    return static_cast<int>(command->run(line));  // 5. the command
  } catch (const refract::Error& error) {         // 6. one line
    return fail(environment.get(), static_cast<int>(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    return fail(environment.get(), 4,
                "not enough memory: see `refract run --dry-run`, then lower train.cache_bytes "
                "or store.chunk_rows");
  } catch (const std::filesystem::filesystem_error& error) {
    const std::string path = error.path1().empty() ? "a file" : error.path1().string();
    return fail(environment.get(), 4,
                fmt::format("{} cannot be used: {}. Check that it is there and may be read and "
                            "written by this user.",
                            path, error.code().message())
                    .c_str());
  } catch (const std::exception& error) {
    return fail(environment.get(), 4, error.what());
  }
}
