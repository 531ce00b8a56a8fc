#pragma once
// Waiting without burning a core. A rank may wait long for another's block or step, and ranks may outnumber cores:
// it looks, then sleeps a little longer each time. The first looks come without a pause, since small sums between
// ranks at the same step take microseconds.
#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "comm/mpi_check.hpp"
#include "refract/base/activity.hpp"

namespace refract {

inline void wait(MPI_Request& request, const char* what) {
  constexpr int kEagerLooks = 200;
  constexpr std::chrono::microseconds kShortest{20}, kLongest{1000};
  std::optional<Waiting> marked;
  std::chrono::microseconds pause = kShortest;
  for (int look = 0;; ++look) {
    int done = 0;
    check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), what);
    if (done) return;
    if (look < kEagerLooks) continue;
    if (!marked) marked.emplace(what);
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, kLongest);
  }
}

}  // namespace refract
