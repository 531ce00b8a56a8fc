#include "refract/base/activity.hpp"

#include <atomic>
#include <mutex>
#include <utility>

#include "refract/base/progress.hpp"

namespace refract {
namespace {

struct Record {
  std::mutex mutex;
  bool waiting = false;
  std::string what = "starting";
  double since_s = monotonic_s();
  std::atomic<double> ticked_s{monotonic_s()};
  std::atomic<int> library_calls{0};
};

Record& record() {
  static Record the_record;
  return the_record;
}

}  // namespace

void working(std::string_view what) {
  Record& r = record();
  tick();
  const std::lock_guard lock(r.mutex);
  r.waiting = false;
  r.what = what;
  r.since_s = monotonic_s();
}

void waiting(std::string_view what) {
  Record& r = record();
  const std::lock_guard lock(r.mutex);
  if (r.waiting && r.what == what) return;
  r.waiting = true;
  r.what = what;
  r.since_s = monotonic_s();
}

void tick() { record().ticked_s.store(monotonic_s(), std::memory_order_relaxed); }

void restart_activity_clocks() {
  tick();
  Record& r = record();
  const std::lock_guard lock(r.mutex);
  r.since_s = monotonic_s();
}

Activity current_activity() {
  Record& r = record();
  const std::lock_guard lock(r.mutex);
  const double now = monotonic_s();
  return {.waiting = r.waiting,
          .what = r.what,
          .for_s = now - r.since_s,
          .ticked_ago_s = r.library_calls.load() > 0 ? 0 : now - r.ticked_s.load()};
}

LibraryCall::LibraryCall() { ++record().library_calls; }
LibraryCall::~LibraryCall() {
  tick();
  --record().library_calls;
}

Waiting::Waiting(std::string_view what) {
  Record& r = record();
  const std::lock_guard lock(r.mutex);
  was_waiting_ = std::exchange(r.waiting, true);
  was_ = std::exchange(r.what, std::string(what));
  was_since_s_ = std::exchange(r.since_s, monotonic_s());
}

Waiting::~Waiting() {
  tick();
  Record& r = record();
  const std::lock_guard lock(r.mutex);
  r.waiting = was_waiting_;
  r.what = std::move(was_);
  r.since_s = was_waiting_
                  ? monotonic_s()
                  : was_since_s_;  // what it waited for has come: the outer wait begins anew
}

}  // namespace refract
