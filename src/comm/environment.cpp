#include "refract/comm/environment.hpp"

#include <mpi.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <exception>
#include <limits>

#include "comm/mpi_check.hpp"
#include "comm/mpi_communicator.hpp"
#include "refract/base/numbers.hpp"

namespace refract {
namespace {

int g_rank = -1;  // for the last line of a failing rank, when MPI may no longer be asked

// The variables of a launcher: the rank, and what comes with it.
struct LauncherVariables {
  const char* rank;
  const char* companion;
  std::uint64_t least;  // of the companion where it is a number; a step of one task is no world
};
constexpr std::array<LauncherVariables, 4> kLaunchers{
    {{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", 1},
     {"PMIX_RANK", "PMIX_NAMESPACE", 0},
     {"PMI_RANK", "PMI_SIZE", 1},
     {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", 2}}};

}  // namespace

Environment::Environment(int& argc, char**& argv) {
  int provided = 0;
  check(MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  if (provided < MPI_THREAD_FUNNELED)
    throw SystemError(
        "MPI gives thread level {}, MPI_THREAD_FUNNELED is needed: use an MPI built with threads",
        provided);
  check(MPI_Comm_rank(MPI_COMM_WORLD, &g_rank), "MPI_Comm_rank");
}

Environment::~Environment() {
  if (std::uncaught_exceptions() == 0) MPI_Finalize();
}

Communicator Environment::world() const { return Communicator::world(); }

int Environment::world_size() const {
  int size = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

int Environment::known_rank() {
  if (g_rank >= 0) return g_rank;
  const std::optional<LaunchedBy> launcher = launched_by();
  return launcher ? launcher->rank : 0;
}

std::optional<LaunchedBy> launched_by() {
  constexpr std::uint64_t kMostRanks = std::numeric_limits<int>::max();
  for (const LauncherVariables& names : kLaunchers) {
    const char* rank = std::getenv(names.rank);
    const char* companion = std::getenv(names.companion);
    if (!rank || !companion) continue;
    const auto number = parse_count(rank, kMostRanks), size = parse_count(companion, kMostRanks);
    if (!number || (names.least > 0 && (!size || *size < names.least))) continue;
    return LaunchedBy{names.rank, static_cast<int>(*number)};
  }
  return std::nullopt;
}

Communicator Communicator::world() { return Communicator(duplicate_world()); }

void Environment::abort(int exit_code) {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

std::string host_name() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

std::string mpi_description() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int size = 0;
  MPI_Get_library_version(text.data(), &size);
  const std::string line(text.data(), static_cast<std::size_t>(size));
  return line.substr(0, line.find(','));
}

}  // namespace refract
