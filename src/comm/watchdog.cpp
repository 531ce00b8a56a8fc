#include "refract/comm/watchdog.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <thread>
#include <vector>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/machine.hpp"
#include "refract/base/progress.hpp"
#include "refract/comm/environment.hpp"
#include "refract/comm/heartbeat.hpp"

namespace refract {
class Watchdog::Body {
 public:
  Body(int rank, int ranks, fs::path folder, double limit_s)
      : folder_(std::move(folder)), limit_s_(limit_s), beat_s_(std::clamp(limit_s / 10, 0.1, 5.0)) {
    own_ = {.rank = rank,
            .host = host_name(),
            .boot = boot_id(),
            .pid = ::getpid(),
            .count = 0,
            .activity = {}};
    for (int other = 0; other < ranks; ++other)
      if (other != rank) others_.push_back({.rank = other, .beat = {}, .unchanged_s = 0});
    changed_s_.resize(others_.size());
    thread_ = std::thread([this] { watch(); });
  }

  ~Body() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    wake_.notify_all();
    thread_.join();
    ::unlink((folder_ / std::to_string(own_.rank)).c_str());
    ::rmdir(folder_.c_str());  // refused while another rank's file is there
  }

 private:
  void watch() {
    sigset_t all;  // signals are the main thread's
    sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    std::unique_lock lock(mutex_);
    double last_s = monotonic_s();
    while (!ended_) {
      const double now = monotonic_s();
      if (now - last_s >
          beat_s_ + limit_s_ / 2) {  // this process did not run: what it saw before says nothing
        restart_activity_clocks();
        looking_ = false;
      }
      last_s = now;
      own_.activity = current_activity();
      ++own_.count;
      write_heartbeat(folder_, own_);
      look(now);
      if (const std::optional<std::string> line = find_hang(own_, others_, limit_s_))
        end_process(*line);
      wake_.wait_for(lock, std::chrono::duration<double>(beat_s_));
    }
  }

  // At the others, once this rank has waited for long: not before, so that a healthy job reads no
  // files.
  void look(double now) {
    if (!own_.activity.waiting || own_.activity.for_s < limit_s_) {
      looking_ = false;
      return;
    }
    for (std::size_t i = 0; i < others_.size(); ++i) {
      Observed& other = others_[i];
      std::optional<Heartbeat> beat = read_heartbeat(folder_, other.rank);
      const std::uint64_t before = other.beat ? other.beat->count : 0,
                          count = beat ? beat->count : 0;
      if (!looking_ || before != count) changed_s_[i] = now;
      other.unchanged_s = now - changed_s_[i];
      other.beat = std::move(beat);
    }
    looking_ = true;
  }

  // The first to find the rank at fault says so; the others leave it the time, and end if nobody
  // stops them.
  [[noreturn]] void end_process(const std::string& line) {
    const FileDescriptor verdict =
        FileDescriptor::try_open(folder_ / "verdict", O_CREAT | O_EXCL | O_WRONLY);
    const bool first = verdict.is_open() || errno != EEXIST;
    if (first) {
      fmt::print(stderr, "{}\n", line);
      std::fflush(stderr);
    } else {
      std::this_thread::sleep_for(std::chrono::seconds(3));
    }
    ::_exit(static_cast<int>(ExitCode::system));
  }

  fs::path folder_;
  double limit_s_, beat_s_;
  Heartbeat own_;
  std::vector<Observed> others_;
  std::vector<double> changed_s_;  // when each of the others was last seen with a new count
  bool looking_ = false, ended_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::thread thread_;
};

Watchdog Watchdog::collective_start(Communicator& world, const fs::path& folder, double limit_s) {
  if (limit_s <= 0) return Watchdog(nullptr);
  if (world.rank() == 0) {
    remove_all_quietly(folder);
    make_folder(folder);
  }
  world.barrier();
  return Watchdog(std::make_unique<Body>(world.rank(), world.size(), folder, limit_s));
}

Watchdog::Watchdog(std::unique_ptr<Body> body) : body_(std::move(body)) {}
Watchdog::Watchdog(Watchdog&&) noexcept = default;
Watchdog::~Watchdog() = default;

}  // namespace refract
