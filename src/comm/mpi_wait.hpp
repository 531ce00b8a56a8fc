#pragma once
// Waiting without burning a core. A rank may wait long for another's block or step, and ranks may
// outnumber cores. First it looks without a pause, since ranks at the same step come within
// microseconds, and a rank that sleeps makes the next one late; but it offers its core at each
// look. Then it sleeps, an eighth of the time it has waited: so a wait takes at most an eighth
// longer, and one of milliseconds costs a few per cent of a core. A large transfer gets on only
// while it is looked at, so it is looked at without sleep for as long as its bytes may take, and
// often after that.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <thread>

#include "comm/mpi_check.hpp"
#include "refract/base/activity.hpp"

namespace refract {

// Until all of them are done; each takes its bytes at about the same time.
inline void wait(std::span<MPI_Request> requests, const char* what, std::size_t bytes = 0) {
  using namespace std::chrono_literals;
  using Clock = std::chrono::steady_clock;
  constexpr int kSilentLooks = 100;  // without a glance at the clock
  constexpr std::size_t kLarge_bytes = 1 << 20;
  const Clock::duration longest = bytes < kLarge_bytes ? 1ms : 50us;
  constexpr std::size_t kSlowest_bytes_per_us = 100;
  const Clock::duration awake = 300us + std::chrono::microseconds(bytes / kSlowest_bytes_per_us);
  Clock::time_point start;
  std::optional<Waiting> marked;
  for (int look = 0;; ++look) {
    int done = 0;
    check(
        MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE),
        what);
    if (done) return;
    if (look < kSilentLooks) continue;
    if (look == kSilentLooks) start = Clock::now();
    const Clock::duration waited = Clock::now() - start;
    if (waited < awake) {
      std::this_thread::yield();
      continue;
    }
    if (!marked) marked.emplace(what);
    std::this_thread::sleep_for(std::min(waited / 8, longest));
  }
}

inline void wait(MPI_Request& request, const char* what, std::size_t bytes = 0) {
  wait(std::span(&request, 1), what, bytes);
}

}  // namespace refract
