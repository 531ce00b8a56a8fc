#include "refract/base/parallel.hpp"

#include <omp.h>
#include <sched.h>

#include <thread>

namespace refract {

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

int thread_count() { return omp_get_max_threads(); }
void set_thread_count(int threads) { omp_set_num_threads(threads); }
bool on_first_thread() { return omp_get_thread_num() == 0; }

}  // namespace refract
