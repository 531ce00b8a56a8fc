#pragma once
// A signal (USR1, TERM, INT) asks for a checkpoint at the next safe point. The handler only sets a
// flag; a second signal, at least a second later, ends the process at once with code 85.
namespace refract {

void install_stop_handlers();
[[nodiscard]] bool stop_requested();
void request_stop();  // as the first signal does: what another rank tells this one

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
