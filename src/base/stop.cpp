#include "refract/base/stop.hpp"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <initializer_list>
#include <limits>
#include <mutex>
#include <utility>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"
#include "refract/base/progress.hpp"

namespace refract {
namespace {

// Written in a handler: free of locks.
volatile std::sig_atomic_t g_stop = 0, g_signal = 0;
std::atomic<std::int64_t> g_stopped_at_ms{0};
static_assert(std::atomic<std::int64_t>::is_always_lock_free);
constexpr std::int64_t kOneWish_ms = 1000;
std::atomic<int> g_droppable{0};

std::atomic<double> g_moment_s{std::numeric_limits<double>::infinity()};
std::mutex g_cause_mutex;
std::string g_cause;  // of the moment

std::int64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// A launcher and a terminal may both pass on the same ^C: what comes within a second is the same
// wish.
extern "C" void on_stop_signal(int signal) {
  if (g_stop == 0) {
    g_signal = signal;
    request_stop();
  } else if (signal == SIGINT && now_ms() - g_stopped_at_ms >= kOneWish_ms) {
    ::_exit(static_cast<int>(ExitCode::resume));
  }
}

}  // namespace

void install_stop_handlers() {
  struct sigaction action {};
  action.sa_handler = on_stop_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) ::sigaction(signal, &action, nullptr);
}

bool stop_requested() { return g_stop != 0 || seconds_until_stop() <= 0; }

void request_stop() {
  if (g_stop != 0) return;
  g_stopped_at_ms = now_ms();
  g_stop = 1;
}

void stop_at(double moment_s, std::string cause) {
  if (stop_requested()) return;
  const std::lock_guard lock(g_cause_mutex);
  g_cause = std::move(cause);
  g_moment_s = moment_s;
}

double seconds_until_stop() {
  if (g_stop != 0) return 0;
  const double moment_s = g_moment_s;
  constexpr double kNever = std::numeric_limits<double>::infinity();
  return moment_s == kNever ? kNever : moment_s - monotonic_s();
}

std::string stop_cause() {
  switch (g_signal) {
    case SIGUSR1: return "by SIGUSR1";
    case SIGTERM: return "by SIGTERM";
    case SIGINT: return "by ^C";
    default: break;
  }
  const std::lock_guard lock(g_cause_mutex);
  return g_moment_s <= monotonic_s() ? g_cause : "by a signal to another rank";
}

Droppable::Droppable() { ++g_droppable; }
Droppable::~Droppable() { --g_droppable; }

bool stop_now() { return g_droppable.load(std::memory_order_relaxed) > 0 && stop_requested(); }

void throw_stopped() { throw StopRequested("stopped {}; start again to go on", stop_cause()); }

void stop_point() {
  tick();
  if (stop_now()) throw_stopped();
}

}  // namespace refract
