#pragma once
// MPI for the life of the program. Where no launcher started us and none is needed, MPI is still
// initialised (a world of one), so that parallel HDF5 works the same; `download` never comes here.
#include <optional>
#include <string>

#include "refract/comm/communicator.hpp"

namespace refract {

class Environment {
 public:
  Environment(int& argc, char**& argv);
  ~Environment();  // finalises, unless an exception is on its way: then main aborts
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  [[nodiscard]] Communicator world() const;  // a duplicate of MPI_COMM_WORLD
  [[nodiscard]] int world_size() const;
  [[nodiscard]] static int known_rank();  // before MPI is up, what the launcher says; no MPI call
  [[noreturn]] static void abort(int exit_code);
};

// What a launcher that started this process left in its environment. A variable alone, without its
// companion, was left behind in a shell and is no launcher.
struct LaunchedBy {
  std::string variable;  // which says the rank
  int rank = 0;
};
[[nodiscard]] std::optional<LaunchedBy> launched_by();

[[nodiscard]] std::string host_name();
[[nodiscard]] std::string mpi_description();  // library and version

}  // namespace refract
