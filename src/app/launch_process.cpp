#include "app/launch_process.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>

#include "app/launch_output.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file_descriptor.hpp"
#include "refract/base/progress.hpp"

namespace refract {
namespace {

// The signals are blocked and read from a descriptor, so that none is lost between two calls.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGHUP, SIGCHLD}) {
      struct sigaction old {};
      ::sigaction(signal, nullptr, &old);
      if (signal == SIGCHLD || old.sa_handler != SIG_IGN)
        sigaddset(&set_, signal);  // nohup stays nohup
    }
    ::sigprocmask(SIG_BLOCK, &set_, &old_);
    descriptor_ = FileDescriptor(::signalfd(-1, &set_, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  ~Signals() { ::sigprocmask(SIG_SETMASK, &old_, nullptr); }
  Signals(const Signals&) = delete;
  [[nodiscard]] int descriptor() const { return descriptor_.number(); }
  [[nodiscard]] const sigset_t& old_mask() const { return old_; }
  // The next signal that has come; 0 when none has.
  [[nodiscard]] int next() const {
    signalfd_siginfo info{};
    const ssize_t size = ::read(descriptor(), &info, sizeof info);
    return size == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
  }

 private:
  sigset_t set_{}, old_{};
  FileDescriptor descriptor_;
};

void show(const std::string& text) {
  if (text.empty()) return;
  fmt::print(stderr, "{}\n", text);
  std::fflush(stderr);
}

class Job {
 public:
  Job(const std::vector<std::string>& command, bool on_terminal)
      : end_launcher_(command.front().ends_with("srun") ? SIGTERM : SIGINT) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
      throw SystemError("making a pipe: {}", std::strerror(errno));
    from_launcher_ = FileDescriptor(ends[0]);
    const FileDescriptor to_this(ends[1]);
    const pid_t parent = ::getpid();
    launcher_ = ::fork();
    if (launcher_ < 0) throw SystemError("starting {}: {}", command.front(), std::strerror(errno));
    if (launcher_ == 0) become_launcher(command, on_terminal, to_this.number(), parent);
    ::fcntl(from_launcher_.number(), F_SETFL, O_NONBLOCK);
  }
  Job(const Job&) = delete;

  [[nodiscard]] int wait() {
    std::array<pollfd, 2> waiting{
        {{signals_.descriptor(), POLLIN, 0}, {from_launcher_.number(), POLLIN, 0}}};
    while (true) {
      ::poll(waiting.data(), waiting.size(), -1);
      if (!read_lines()) waiting[1].fd = -1;
      while (const int signal = signals_.next())
        if (signal != SIGCHLD) forward(signal);
      int status = 0;
      if (::waitpid(launcher_, &status, WNOHANG) != launcher_) continue;
      read_lines();
      if (!partial_.empty()) take_line(std::exchange(partial_, {}));
      const LauncherOutput::End end =
          output_.end(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), stopping_);
      show(end.text);
      return end.exit_code;
    }
  }

 private:
  // In a group of its own, so that ^C reaches the ranks only as the wish to stop, never as the
  // launcher's own end. A batch system that cancels or preempts a job sends TERM to every process
  // of it: mpirun, which would kill the ranks a second later, does not get it (they do), and is
  // ended by INT.
  [[noreturn]] void become_launcher(const std::vector<std::string>& command, bool on_terminal,
                                    int write_end, pid_t parent) const {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, end_launcher_);
    if (::getppid() != parent) ::_exit(static_cast<int>(ExitCode::system));
    sigset_t mask = signals_.old_mask();
    if (end_launcher_ != SIGTERM) sigaddset(&mask, SIGTERM);
    ::sigprocmask(SIG_SETMASK, &mask, nullptr);
    const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::dup2(nothing, STDIN_FILENO);
    ::dup2(write_end, STDERR_FILENO);
    ::setenv("REFRACT_LAUNCHED", "1", 1);
    // Where the ranks' output ends up, which they write to the launcher's pipe.
    if (const std::string log = stdout_file(); !log.empty())
      ::setenv("REFRACT_LOG", log.c_str(), 0);
    ::setenv("REFRACT_TERMINAL", on_terminal ? "1" : "0", 1);
    std::vector<char*> words;
    for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    ::execv(words.front(), words.data());
    ::_exit(static_cast<int>(ExitCode::system));
  }

  // mpirun takes TERM and INT as its own end and kills the ranks a second later; USR1 it hands on.
  // A batch system repeats its signals and means the same; ^C once more is a person who will not
  // wait.
  void forward(int signal) {
    if (std::exchange(stopping_, true)) {
      if (signal == SIGINT) ::kill(launcher_, end_launcher_);
      return;
    }
    show("refract: stopping: the ranks write a checkpoint first; ^C once more ends them at once");
    ::kill(launcher_, SIGUSR1);
  }

  void take_line(const std::string& line) {
    if (const std::optional<std::string> shown = output_.take(line)) show(*shown);
  }

  // false: the launcher closed its end.
  bool read_lines() {
    std::array<char, 4096> buffer{};
    while (true) {
      const ssize_t size = ::read(from_launcher_.number(), buffer.data(), buffer.size());
      if (size <= 0) return size != 0;
      partial_.append(buffer.data(), static_cast<std::size_t>(size));
      for (std::size_t end = partial_.find('\n'); end != std::string::npos;
           end = partial_.find('\n')) {
        const std::string line = partial_.substr(0, end);
        partial_.erase(0, end + 1);
        take_line(line.ends_with('\r') ? line.substr(0, line.size() - 1) : line);
      }
    }
  }

  int end_launcher_;  // the signal that does
  Signals signals_;
  LauncherOutput output_;
  std::string partial_;
  pid_t launcher_ = -1;
  FileDescriptor from_launcher_;
  bool stopping_ = false;
};

}  // namespace

int run_launcher(const std::vector<std::string>& command, bool on_terminal) {
  return Job(command, on_terminal).wait();
}

}  // namespace refract
