#pragma once
// A function with a stack of its own that can stop in the middle and go on later. Much cheaper than
// a thread: a switch is a few instructions, and no other fiber runs meanwhile. Stacks have a guard
// page below them. The address sanitizer is told of every switch.
#include <cstddef>
#include <memory>

namespace refract::emulated {

// Runs on the thread that calls resume(). One level deep: a fiber resumes no fiber.
class Fiber {
 public:
  Fiber();  // maps the stack; reused by every start()
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next resume() enters entry(argument). A function that was in the middle is forgotten: its
  // destructors do not run.
  void start(void (*entry)(void*), void* argument);
  void resume();       // returns when the fiber stops, or its function returns
  static void stop();  // called on the fiber: back to resume()
  [[nodiscard]] bool contains(const void* address) const;  // also in its guard page

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace refract::emulated
