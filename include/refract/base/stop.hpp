#pragma once
// The wish to stop at the next safe point, after a checkpoint. It comes by a signal (USR1, TERM,
// INT), whose handler only sets a flag, or with a moment that was set before. A batch system may
// say TERM or USR1 any number of times and means the same; a second INT, at least a second after
// the first wish, is a person who will not wait: it ends the process at once with code 85.
#include <string>

namespace refract {

void install_stop_handlers();
[[nodiscard]] bool stop_requested();
void request_stop();  // as the first signal does: what another rank tells this one
// From this moment on (of monotonic_s()) a stop is wanted. Set again, it replaces the one before;
// what has come stays. cause: as in "stopped <cause>".
void stop_at(double moment_s, std::string cause);
[[nodiscard]] double seconds_until_stop();  // 0 when it has come, infinite when no moment is set
[[nodiscard]] std::string stop_cause();     // "by SIGUSR1", or that of the moment

// Within its life the work of this process may be dropped at any moment and done again (evaluation,
// probing): stop_point() then throws StopRequested once a stop was asked for. Elsewhere it only
// ticks. parallel_for is a stop point between its items.
class Droppable {
 public:
  Droppable();
  ~Droppable();
  Droppable(const Droppable&) = delete;
};
[[noreturn]] void throw_stopped();  // StopRequested, in the words that every stop has
void stop_point();                  // tick(), and StopRequested when droppable
[[nodiscard]] bool stop_now();      // droppable, and a stop was asked for; any thread

}  // namespace refract
