#pragma once
// What this process is doing now, for a watchdog (comm/watchdog.hpp): it works or it waits, and it
// ticks as long as it gets on. One record per process, since a rank has one main thread; marks cost
// nothing where nobody watches.
#include <string>
#include <string_view>

namespace refract {

struct Activity {
  bool waiting = false;
  std::string what = "starting";
  double for_s = 0;         // since it began to work on or to wait for this
  double ticked_ago_s = 0;  // since the last sign that it gets on
};

void working(std::string_view what);  // "extract block 17"; also a tick
void waiting(std::string_view what);  // "a ticket"; again for the same: the wait goes on
void tick();                          // from any thread; Progress and parallel_for do it too
void restart_activity_clocks();  // after the whole process was stopped: its clocks ran on, it did
                                 // not
[[nodiscard]] Activity current_activity();

// Within its life the process is inside a library that cannot tick (LAPACK, a file system) and that
// ends by itself: a watchdog believes that it gets on.
class LibraryCall {
 public:
  LibraryCall();
  ~LibraryCall();
  LibraryCall(const LibraryCall&) = delete;
};

// Waits until its end, then goes back to what was before.
class Waiting {
 public:
  explicit Waiting(std::string_view what);
  ~Waiting();
  Waiting(const Waiting&) = delete;

 private:
  bool was_waiting_;
  std::string was_;
  double was_since_s_;
};

}  // namespace refract
