#include "refract/base/command.hpp"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <string_view>

#include "refract/base/file_descriptor.hpp"
#include "refract/base/progress.hpp"

namespace refract {
namespace {

[[noreturn]] void become(const std::vector<std::string>& words, const std::string& program,
                         int write_end) {
  ::setpgid(0, 0);  // so that what it starts can be killed with it
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(write_end, STDOUT_FILENO);
  ::dup2(write_end, STDERR_FILENO);
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::execv(program.c_str(), arguments.data());
  ::_exit(127);
}

// All that comes until the other end is closed; false when that takes longer than until end_s.
bool read_until(const FileDescriptor& from, double end_s, std::string& text) {
  std::array<char, 4096> buffer{};
  while (true) {
    const double left_s = end_s - monotonic_s();
    if (left_s <= 0) return false;
    pollfd waiting{from.number(), POLLIN, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(left_s * 1000) + 1);
    if (ready < 0 && errno != EINTR) return false;
    if (ready <= 0) continue;  // a signal, or the time is up
    const ssize_t size = ::read(from.number(), buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return true;
    text.append(buffer.data(), static_cast<std::size_t>(size));
  }
}

// Its status; nothing when it has not ended until end_s. It closes its output when it ends, so that
// this is seldom long.
std::optional<int> wait_until(pid_t child, double end_s) {
  constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 2'000'000};
  int status = 0;
  while (true) {
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) return status;
    if (ended < 0 && errno != EINTR) return std::nullopt;
    if (monotonic_s() > end_s) return std::nullopt;
    ::nanosleep(&kPause, nullptr);
  }
}

}  // namespace

std::string in_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  const std::string folders = path ? path : "";
  for (std::size_t at = 0; at <= folders.size();) {
    const std::size_t end = std::min(folders.find(':', at), folders.size());
    const std::filesystem::path candidate =
        std::filesystem::path(folders.substr(at, end - at)) / program;
    if (end > at && ::access(candidate.c_str(), X_OK) == 0) return candidate.string();
    at = end + 1;
  }
  return "";
}

std::optional<Answer> ask(const std::vector<std::string>& words, double limit_s) {
  const std::string program =
      words.front().find('/') == std::string::npos ? in_path(words.front()) : words.front();
  std::array<int, 2> ends{};
  if (program.empty() || ::pipe2(ends.data(), O_CLOEXEC) != 0) return std::nullopt;
  const FileDescriptor from(ends[0]);
  FileDescriptor to(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return std::nullopt;
  if (child == 0) become(words, program, to.number());
  to = FileDescriptor();
  Answer answer;
  const double end_s = monotonic_s() + limit_s;
  const std::optional<int> status =
      read_until(from, end_s, answer.text) ? wait_until(child, end_s) : std::optional<int>();
  if (!status) {
    ::kill(-child, SIGKILL);
    while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
    return std::nullopt;
  }
  answer.code = WIFEXITED(*status) ? WEXITSTATUS(*status) : 128 + WTERMSIG(*status);
  return answer;
}

std::string as_shell_line(const std::vector<std::string>& words) {
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("-_./=:,@+%^").find(c) != std::string_view::npos;
  };
  std::string line;
  for (const std::string& word : words) {
    line += line.empty() ? "" : " ";
    if (!word.empty() && std::ranges::all_of(word, plain)) {
      line += word;
      continue;
    }
    line += "'";
    for (const char c : word) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += "'";
  }
  return line;
}

}  // namespace refract
