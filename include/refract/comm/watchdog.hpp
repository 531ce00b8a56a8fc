#pragma once
// A thread per rank that ends a job which hangs. It never calls MPI: it reads what this rank marks
// (base/activity.hpp) and the heartbeat files of the others, in <run>/alive. When it finds the rank
// at fault (heartbeat.hpp: find_hang) one line names it and the process ends with code 4, upon
// which the launcher stops the others. It works when a rank is frozen (SIGSTOP, a dead host) or
// stuck in a loop. A job frozen as a whole and woken again is left alone.
#include <filesystem>
#include <memory>

#include "refract/comm/communicator.hpp"

namespace refract {

class Watchdog {
 public:
  // limit_s 0: no watchdog. The folder is made; what an earlier attempt left in it is removed.
  [[nodiscard]] static Watchdog collective_start(Communicator& world,
                                                 const std::filesystem::path& folder,
                                                 double limit_s);
  ~Watchdog();  // ends the thread; removes this rank's heartbeat, and the folder when it is the
                // last
  Watchdog(Watchdog&&) noexcept;

 private:
  class Body;
  explicit Watchdog(std::unique_ptr<Body> body);
  std::unique_ptr<Body> body_;
};

}  // namespace refract
