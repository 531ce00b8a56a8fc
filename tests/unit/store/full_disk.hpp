#pragma once
// What becomes of a writer where the disk is full.
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "refract/base/error.hpp"

extern "C" int H5close();  // what HDF5 has MPI_Finalize call

namespace refract::test {

// In a process of its own, whose files may have `bytes` at most: the disk is full there. HDF5 is
// ended there, too. The message of the error, or how the process died.
inline std::string error_on_full_disk(std::uint64_t bytes, const std::function<void()>& write) {
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, bytes};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    std::string text = "no error";
    try {
      write();
    } catch (const SystemError& error) {
      text = error.what();
    }
    (void)!::write(ends[1], text.data(), text.size());
    H5close();
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string text;
  char piece[4096];
  for (ssize_t got; (got = ::read(ends[0], piece, sizeof piece)) > 0;)
    text.append(piece, static_cast<std::size_t>(got));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return status == 0 ? text : fmt::format("status {} after: {}", status, text);
}

}  // namespace refract::test
