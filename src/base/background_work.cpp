#include "refract/base/background_work.hpp"

#include <pthread.h>

#include <csignal>
#include <utility>

#include "refract/base/error.hpp"
#include "refract/base/stop.hpp"

namespace refract {

BackgroundWork::~BackgroundWork() {
  unwanted_ = true;
  if (busy()) thread_.join();
}

void BackgroundWork::start(Work work) {
  REFRACT_ASSERT(!busy(), "started while busy");
  ended_ = false;
  thread_ = std::thread([this, work = std::move(work)] {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    try {
      work([this] {
        if (unwanted_) throw_stopped();
      });
    } catch (...) {
      failure_ = std::current_exception();
    }
    ended_ = true;
  });
}

void BackgroundWork::take_end() {
  thread_.join();
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

}  // namespace refract
