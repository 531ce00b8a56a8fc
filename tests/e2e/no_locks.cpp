// A file system without locks, for LD_PRELOAD: every lock of fcntl(2) is refused as such a file
// system refuses it. Each refusal adds a byte to the file that NO_LOCKS_LOG names, so that a test
// knows that it happened.
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdlib>

namespace {

using Fcntl = int (*)(int, int, ...);

int refuse() {
  const char* log = std::getenv("NO_LOCKS_LOG");
  const int file = log ? ::open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
  if (file >= 0) {
    if (::write(file, "r", 1) != 1) std::abort();
    ::close(file);
  }
  errno = ENOLCK;
  return -1;
}

int without_locks(const char* name, int descriptor, int command, void* argument) {
  switch (command) {
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_SETLK:
    case F_OFD_SETLKW: return refuse();
    default: break;
  }
  const auto real = reinterpret_cast<Fcntl>(::dlsym(RTLD_NEXT, name));
  return real(descriptor, command, argument);
}

}  // namespace

extern "C" int fcntl(int descriptor, int command, ...) {
  va_list rest;
  va_start(rest, command);
  void* argument = va_arg(rest, void*);
  va_end(rest);
  return without_locks("fcntl", descriptor, command, argument);
}

extern "C" int fcntl64(int descriptor, int command, ...) {
  va_list rest;
  va_start(rest, command);
  void* argument = va_arg(rest, void*);
  va_end(rest);
  return without_locks("fcntl64", descriptor, command, argument);
}
