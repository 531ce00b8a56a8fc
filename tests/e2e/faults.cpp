// In front of refract, for LD_PRELOAD: fault points. Every call that changes a file below the
// folder FAULTS_BELOW (of refract, of HDF5, of MPI-IO) has a point before it and one after it, a
// write also one in its middle. A point is named by the file's class, the operation and the place:
// "run:saes:small:checkpoints:chunk-N.part:state.json sync after"; digits and tokens in a file's
// name do not count. Names are taken in the folder FAULTS_NAMES, an empty file for each, by whoever
// makes the file; so each is taken once by all ranks and starts together. FAULTS_DO says what then
// happens:
//   list kill | list fail  nothing: the folder gets the names of the points that there are
//   kill                   the process kills itself with SIGKILL
//   ENOSPC | EDQUOT        the call fails with that error, where a full disk can make it fail; a
//   write
//                          also once after half of its bytes
// FAULTS_TRACE: a file that gets a line for each such call that succeeded: operation, path, and
// what it was before a rename, with tabs between (durable.py reads them). FAULTS_STOP_AT: the name
// of a point where the process sends itself SIGUSR1, once for each start.
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <regex>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

template <std::size_t size>
struct Name {
  char text[size];
  constexpr Name(const char (&name)[size]) { std::copy_n(name, size, text); }
};

// The function of that name which the caller hides.
template <typename Function, Name name>
auto* real() {
  static auto* const found = reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name.text));
  return found;
}

using Open = int(const char*, int, ...);
using OpenAt = int(int, const char*, int, ...);
using FOpen = FILE*(const char*, const char*);
using OfPath = int(const char*);
using OfTwo = int(const char*, const char*);
using OfFile = int(int);
using Write = ssize_t(int, const void*, std::size_t);
using PWrite = ssize_t(int, const void*, std::size_t, off_t);
using WriteV = ssize_t(int, const iovec*, int);
using PWriteV = ssize_t(int, const iovec*, int, off_t);
using Resize = int(int, off_t);
using Reserve = int(int, int, off_t, off_t);

std::string_view setting(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

struct Faults {
  std::string_view below = setting("FAULTS_BELOW"), names = setting("FAULTS_NAMES"),
                   what = setting("FAULTS_DO"), stop_at = setting("FAULTS_STOP_AT"),
                   trace = setting("FAULTS_TRACE");
  bool kills = what == "kill" || what == "list kill";
  bool only_lists = what.starts_with("list");
  int error = what == "EDQUOT" ? EDQUOT : ENOSPC;
};
const Faults& faults() {
  static const Faults all;
  return all;
}

// Of the call at hand, below the folder, for the trace.
thread_local std::string path_of_call, renamed_from;

bool has_only(std::string_view text, std::string_view characters) {
  return text.find_first_not_of(characters) == std::string_view::npos;
}

// Numbers and digests are all one, as are SAEs, and claims under data_root.
std::string class_of_word(std::string_view word) {
  constexpr std::string_view kDigits = "0123456789", kDigestDigits = "0123456789abcdef";
  constexpr std::size_t kLeastOfDigest = 8;
  if (word.empty()) return "";
  if (word.size() >= kLeastOfDigest && has_only(word, kDigestDigits)) return "TOKEN";
  if (has_only(word, kDigits)) return "N";
  return std::string(word);
}

// Empty where it is not below the folder.
std::string class_of(std::string path) {
  const std::string_view below = faults().below;
  constexpr std::string_view kGone = " (deleted)";
  if (path.ends_with(kGone)) path.resize(path.size() - kGone.size());
  if (below.empty() || !path.starts_with(below) || path.size() <= below.size() + 1 ||
      path[below.size()] != '/')
    return "";
  path.erase(0, below.size() + 1);
  path_of_call = path;
  static const std::regex sae("^run/(saes|features)/[A-Za-z]+"), claim("^data/.*\\.claim");
  path = std::regex_replace(path, sae, "run/$1/SAE");
  path = std::regex_replace(path, claim, "data/ANY.claim");
  std::string name;
  for (std::size_t at = 0; at < path.size();) {
    const auto is_word = [](unsigned char c) { return std::isalnum(c) != 0; };
    const auto first = path.begin() + static_cast<std::ptrdiff_t>(at);
    const auto end = std::find_if_not(first, path.end(), is_word);
    name += class_of_word({first, end});
    if (end != path.end()) name += *end == '/' ? ':' : *end;
    at = static_cast<std::size_t>(end - path.begin()) + 1;
  }
  return name;
}

std::string target_of(int descriptor) {
  std::array<char, PATH_MAX> text{};
  const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
  const ssize_t size = ::readlink(link.c_str(), text.data(), text.size());
  return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
}

std::string class_of(int descriptor) { return class_of(target_of(descriptor)); }
std::string class_at(int folder, const char* path) {
  if (path[0] == '/') return class_of(std::string(path));
  if (folder != AT_FDCWD) return class_of(target_of(folder) + "/" + path);
  std::array<char, PATH_MAX> text{};
  return ::getcwd(text.data(), text.size()) ? class_of(std::string(text.data()) + "/" + path) : "";
}

// true: the point is this call's, and something is to happen there.
bool takes(const std::string& point) {
  const std::string file = std::string(faults().names) + "/" + point;
  const int made =
      real<Open, "open">()(file.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  if (made >= 0) ::close(made);
  return made >= 0 && !faults().only_lists;
}

void stop_at(const std::string& point) {
  static std::atomic_flag stopped;
  if (point == faults().stop_at && !stopped.test_and_set()) ::kill(::getpid(), SIGUSR1);
}

void trace(const char* operation) {
  if (faults().trace.empty()) return;
  const std::string line =
      std::string(operation) + "\t" + path_of_call + "\t" + std::exchange(renamed_from, "") + "\n";
  const int file = real<Open, "open">()(std::string(faults().trace).c_str(),
                                        O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0644);
  if (real<Write, "write">()(file, line.data(), line.size()) < 0) ::abort();
  ::close(file);
}

enum class Full { may_fail, never_fails };

// The call, with what the points before and after it do. `half` writes half of the bytes.
template <typename Call, typename Half>
auto faulty(const std::string& of, const char* operation, Full full, const Call& call,
            const Half& half) -> decltype(call()) {
  if (of.empty()) return call();
  const std::string point = of + " " + operation;
  constexpr bool halves = !std::is_same_v<Half, std::nullptr_t>;
  const auto die_at = [&](const char* place) {
    const int error = errno;
    stop_at(point + " " + place);
    if (faults().kills && takes(point + " " + place)) ::kill(::getpid(), SIGKILL);
    errno = error;
  };
  die_at("before");
  if (!faults().kills && full == Full::may_fail) {
    thread_local int full_after_half = -1;
    if constexpr (halves) {
      const bool rest = full_after_half == half.descriptor;
      full_after_half = -1;
      if (rest) {
        errno = faults().error;
        return -1;
      }
      if (half.bytes > 1 && takes(point + " half")) {
        full_after_half = half.descriptor;
        return half.write();
      }
    }
    if (takes(point + " fails")) {
      errno = faults().error;
      return static_cast<decltype(call())>(-1);
    }
  }
  if constexpr (halves)
    if (faults().kills && half.bytes > 1 && takes(point + " half")) {
      (void)half.write();
      ::kill(::getpid(), SIGKILL);
    }
  const auto result = call();
  if (result >= 0) trace(operation);
  die_at("after");
  return result;
}

template <typename Call>
auto faulty(const std::string& of, const char* operation, Full full, const Call& call) {
  return faulty(of, operation, full, call, nullptr);
}

template <typename Write>
struct Half {
  int descriptor;
  std::size_t bytes;
  Write write;
};
template <typename Write>
Half(int, std::size_t, Write) -> Half<Write>;

bool exists(int folder, const char* path) {
  return ::faccessat(folder, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

// Opening to write makes a file, or empties one, or changes nothing.
template <typename Call>
int opening(int folder, const char* path, int flags, const Call& call) {
  const bool makes = (flags & O_CREAT) != 0, empties = (flags & O_TRUNC) != 0;
  if (!makes && !empties) return call();
  const std::string of = class_at(folder, path);
  if (of.empty()) return call();
  const bool there = exists(folder, path);
  if (there && !empties) return call();
  return faulty(of, there ? "empty" : "create", there ? Full::never_fails : Full::may_fail, call);
}

template <typename Call>
FILE* opening(const char* path, const char* how, const Call& call) {
  if (how[0] == 'r') return call();
  FILE* file = nullptr;
  const int flags = O_CREAT | (how[0] == 'w' ? O_TRUNC : 0);
  opening(AT_FDCWD, path, flags, [&] { return (file = call()) ? 0 : -1; });
  return file;
}

std::vector<char> joined(const iovec* parts, int count) {
  std::vector<char> bytes;
  for (int i = 0; i < count; ++i) {
    const char* first = static_cast<const char*>(parts[i].iov_base);
    bytes.insert(bytes.end(), first, first + parts[i].iov_len);
  }
  return bytes;
}

std::size_t size_of(const iovec* parts, int count) {
  std::size_t bytes = 0;
  for (int i = 0; i < count; ++i) bytes += parts[i].iov_len;
  return bytes;
}

ssize_t writing(int file, const void* bytes, std::size_t size) {
  return faulty(
      class_of(file), "write", Full::may_fail,
      [=] { return real<Write, "write">()(file, bytes, size); },
      Half{file, size, [=] { return real<Write, "write">()(file, bytes, size / 2); }});
}
ssize_t writing_at(int file, const void* bytes, std::size_t size, off_t at) {
  return faulty(
      class_of(file), "pwrite", Full::may_fail,
      [=] { return real<PWrite, "pwrite">()(file, bytes, size, at); },
      Half{file, size, [=] { return real<PWrite, "pwrite">()(file, bytes, size / 2, at); }});
}
ssize_t writing_parts_at(int file, const iovec* parts, int count, off_t at) {
  const std::size_t size = size_of(parts, count);
  return faulty(
      class_of(file), "pwritev", Full::may_fail,
      [=] { return real<PWriteV, "pwritev">()(file, parts, count, at); },
      Half{file, size, [=] {
             return real<PWrite, "pwrite">()(file, joined(parts, count).data(), size / 2, at);
           }});
}

int resizing(int file, off_t size) {
  const std::string of = class_of(file);
  struct stat status {};
  const bool grows = !of.empty() && ::fstat(file, &status) == 0 && size > status.st_size;
  return faulty(of, "resize", grows ? Full::may_fail : Full::never_fails,
                [=] { return real<Resize, "ftruncate">()(file, size); });
}
int reserving(int file, int mode, off_t at, off_t size) {
  return faulty(class_of(file), "reserve", Full::may_fail,
                [=] { return real<Reserve, "fallocate">()(file, mode, at, size); });
}

template <typename Call>
int removing(int folder, const char* path, const Call& call) {
  const std::string of = class_at(folder, path);
  return faulty(of.empty() || exists(folder, path) ? of : "", "remove", Full::never_fails, call);
}

}  // namespace

extern "C" {

// The mode is handed on whether it was given or not, as the C library does.
int open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = va_arg(more, mode_t);
  va_end(more);
  return opening(AT_FDCWD, path, flags, [=] { return real<Open, "open">()(path, flags, mode); });
}
int open64(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = va_arg(more, mode_t);
  va_end(more);
  return opening(AT_FDCWD, path, flags, [=] { return real<Open, "open64">()(path, flags, mode); });
}
int openat(int folder, const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = va_arg(more, mode_t);
  va_end(more);
  return opening(folder, path, flags,
                 [=] { return real<OpenAt, "openat">()(folder, path, flags, mode); });
}
int openat64(int folder, const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = va_arg(more, mode_t);
  va_end(more);
  return opening(folder, path, flags,
                 [=] { return real<OpenAt, "openat64">()(folder, path, flags, mode); });
}
FILE* fopen(const char* path, const char* how) {
  return opening(path, how, [=] { return real<FOpen, "fopen">()(path, how); });
}
FILE* fopen64(const char* path, const char* how) {
  return opening(path, how, [=] { return real<FOpen, "fopen64">()(path, how); });
}

ssize_t write(int file, const void* bytes, std::size_t size) { return writing(file, bytes, size); }
ssize_t pwrite(int file, const void* bytes, std::size_t size, off_t at) {
  return writing_at(file, bytes, size, at);
}
ssize_t pwrite64(int file, const void* bytes, std::size_t size, off64_t at) {
  return writing_at(file, bytes, size, at);
}
ssize_t writev(int file, const iovec* parts, int count) {
  const std::size_t size = size_of(parts, count);
  return faulty(
      class_of(file), "write", Full::may_fail,
      [=] { return real<WriteV, "writev">()(file, parts, count); },
      Half{file, size,
           [=] { return real<Write, "write">()(file, joined(parts, count).data(), size / 2); }});
}
ssize_t pwritev(int file, const iovec* parts, int count, off_t at) {
  return writing_parts_at(file, parts, count, at);
}
ssize_t pwritev64(int file, const iovec* parts, int count, off64_t at) {
  return writing_parts_at(file, parts, count, at);
}

int ftruncate(int file, off_t size) noexcept { return resizing(file, size); }
int ftruncate64(int file, off64_t size) noexcept { return resizing(file, size); }
int fallocate(int file, int mode, off_t at, off_t size) { return reserving(file, mode, at, size); }
int fallocate64(int file, int mode, off64_t at, off64_t size) {
  return reserving(file, mode, at, size);
}
int fsync(int file) {
  return faulty(class_of(file), "sync", Full::may_fail,
                [=] { return real<OfFile, "fsync">()(file); });
}
int fdatasync(int file) {
  return faulty(class_of(file), "sync", Full::may_fail,
                [=] { return real<OfFile, "fdatasync">()(file); });
}

int rename(const char* from, const char* to) noexcept {
  if (!class_at(AT_FDCWD, from).empty()) renamed_from = path_of_call;
  return faulty(class_at(AT_FDCWD, to), "rename", Full::may_fail,
                [=] { return real<OfTwo, "rename">()(from, to); });
}
int renameat2(int from_folder, const char* from, int to_folder, const char* to,
              unsigned flags) noexcept {
  if (!class_at(from_folder, from).empty()) renamed_from = path_of_call;
  return faulty(class_at(to_folder, to), "exchange", Full::may_fail, [=] {
    return real<int(int, const char*, int, const char*, unsigned), "renameat2">()(
        from_folder, from, to_folder, to, flags);
  });
}
int link(const char* from, const char* to) noexcept {
  return faulty(class_at(AT_FDCWD, to), "link", Full::may_fail,
                [=] { return real<OfTwo, "link">()(from, to); });
}
int mkdir(const char* path, mode_t mode) noexcept {
  return faulty(exists(AT_FDCWD, path) ? "" : class_at(AT_FDCWD, path), "mkdir", Full::may_fail,
                [=] { return real<int(const char*, mode_t), "mkdir">()(path, mode); });
}
int unlink(const char* path) noexcept {
  return removing(AT_FDCWD, path, [=] { return real<OfPath, "unlink">()(path); });
}
int unlinkat(int folder, const char* path, int flags) noexcept {
  return removing(folder, path, [=] {
    return real<int(int, const char*, int), "unlinkat">()(folder, path, flags);
  });
}
int rmdir(const char* path) noexcept {
  return removing(AT_FDCWD, path, [=] { return real<OfPath, "rmdir">()(path); });
}
int remove(const char* path) noexcept {
  return removing(AT_FDCWD, path, [=] { return real<OfPath, "remove">()(path); });
}

}  // extern "C"
