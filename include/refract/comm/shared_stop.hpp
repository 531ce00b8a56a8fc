#pragma once
// A stop that was asked of one rank, obeyed by all that work beside each other.
//
// A signal or a moment (base/stop.hpp) may reach one rank alone; were it to leave its work, the
// others would wait for it at the next collective call. So each rank does its part inside
// collective(), which ends with all of them or, by StopRequested, without any; and calls poll()
// between pieces of work, so that those who were not asked hear of it within a piece.
#include <cstdint>
#include <functional>

#include "refract/comm/communicator.hpp"

namespace refract {

class SharedStop {
 public:
  explicit SharedStop(Communicator& ranks) : ranks_(ranks) {}
  SharedStop(const SharedStop&) = delete;

  // Main thread, within the work of collective() (elsewhere only the stop point). Not collective.
  void poll();
  // Collective. Runs `work` as droppable; throws StopRequested on every rank when it was asked for
  // on any before all of them were done. What else `work` throws passes at once, and ends the job.
  void collective(const std::function<void()>& work);

 private:
  void tell();
  Communicator& ranks_;
  bool inside_ = false;      // a call of collective()
  bool told_ = false;        // the others, within it
  std::uint64_t heard_ = 0;  // of the others
};

}  // namespace refract
