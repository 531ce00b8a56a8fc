#include "refract/base/parallel.hpp"

#include <omp.h>

namespace refract {

int thread_count() { return omp_get_max_threads(); }
void set_thread_count(int threads) { omp_set_num_threads(threads); }

}  // namespace refract
