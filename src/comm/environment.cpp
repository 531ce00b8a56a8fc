#include "refract/comm/environment.hpp"

#include <mpi.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <exception>

#include "comm/mpi_check.hpp"
#include "comm/mpi_communicator.hpp"

namespace refract {
namespace {

int g_rank = -1;  // for the last line of a failing rank, when MPI may no longer be asked

// What the launcher says, before MPI is up.
int launched_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"})
    if (const char* text = std::getenv(name)) return std::atoi(text);
  return 0;
}

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

int Environment::known_rank() { return g_rank >= 0 ? g_rank : launched_rank(); }

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
