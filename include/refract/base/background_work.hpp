#pragma once
// One piece of work at a time in a thread of its own, behind what the main thread does. It may
// touch memory and files; MPI, HDF5 and NCCL are the main thread's, and so are signals.
#include <atomic>
#include <exception>
#include <functional>
#include <thread>

namespace refract {

class BackgroundWork {
 public:
  // go_on() throws once the work is not wanted any more: to be called between its pieces.
  using Work = std::function<void(const std::function<void()>& go_on)>;
  BackgroundWork() = default;
  ~BackgroundWork();  // what still runs ends at its next go_on()
  BackgroundWork(const BackgroundWork&) = delete;

  void start(Work work);                                          // not while busy
  [[nodiscard]] bool busy() const { return thread_.joinable(); }  // started, its end not yet taken
  [[nodiscard]] bool ended() const { return ended_.load(); }
  void take_end();  // waits for it where it has to; throws what the work threw

 private:
  std::thread thread_;
  std::atomic<bool> ended_ = false, unwanted_ = false;
  std::exception_ptr failure_;
};

}  // namespace refract
