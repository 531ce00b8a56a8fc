#pragma once
// Loops over independent items with OpenMP threads. An item never sees which thread ran it, so
// results do not depend on the thread count. The first exception is carried out of the loop. Each
// item is a stop point where work is droppable (base/stop.hpp), those of one thread are ticks: all
// of them would fight for one cache line.
#include <cstddef>
#include <exception>

#include "refract/base/activity.hpp"
#include "refract/base/stop.hpp"

namespace refract {

[[nodiscard]] int usable_cores();  // of this machine, that this process may run on
[[nodiscard]] int thread_count();
void set_thread_count(int threads);
[[nodiscard]] bool on_first_thread();  // of a team; also outside of any

template <typename Body>
void parallel_for(std::size_t items, Body&& body) {
  stop_point();
  std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < items; ++i) {
    if (stop_now()) continue;
    try {
      body(i);
      if (on_first_thread()) tick();
    } catch (...) {
#pragma omp critical(refract_parallel_for)
      if (!failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
  stop_point();
}

}  // namespace refract
