#include "refract/base/stop.hpp"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <initializer_list>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"

namespace refract {
namespace {

volatile std::sig_atomic_t g_stop = 0;
// Read in a handler: free of locks.
std::atomic<std::int64_t> g_stopped_at_ms{0};
static_assert(std::atomic<std::int64_t>::is_always_lock_free);
constexpr std::int64_t kOneWish_ms = 1000;
std::atomic<int> g_droppable{0};

std::int64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// A launcher and a batch system may both pass on the same signal: what comes within a second is the
// same wish.
extern "C" void on_stop_signal(int) {
  if (g_stop == 0)
    request_stop();
  else if (now_ms() - g_stopped_at_ms >= kOneWish_ms)
    ::_exit(static_cast<int>(ExitCode::resume));
}

}  // namespace

void install_stop_handlers() {
  struct sigaction action {};
  action.sa_handler = on_stop_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) ::sigaction(signal, &action, nullptr);
}

bool stop_requested() { return g_stop != 0; }
void request_stop() {
  if (g_stop != 0) return;
  g_stopped_at_ms = now_ms();
  g_stop = 1;
}

Droppable::Droppable() { ++g_droppable; }
Droppable::~Droppable() { --g_droppable; }

bool stop_now() { return stop_requested() && g_droppable.load(std::memory_order_relaxed) > 0; }

void throw_stopped() { throw StopRequested("stopped by a signal; start again to go on"); }

void stop_point() {
  tick();
  if (stop_now()) throw_stopped();
}

}  // namespace refract
