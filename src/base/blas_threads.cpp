#include "refract/base/blas_threads.hpp"

#include <dlfcn.h>

namespace refract {
namespace {

using Get = int (*)();
using Set = void (*)(int);
using Exchange = int (*)(int);

// Whichever BLAS the program was linked with has its own function; the others are not there.
template <typename Function>
Function find(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_DEFAULT, name));
}

int exchange(const char* get, const char* set, int threads) {
  const auto getter = find<Get>(get);
  const auto setter = find<Set>(set);
  if (!getter || !setter) return 0;
  const int before = getter();
  setter(threads);
  return before;
}

void give_back(const char* set, int threads) {
  if (threads > 0) find<Set>(set)(threads);
}

}  // namespace

OneBlasThread::OneBlasThread()
    : openblas_(exchange("openblas_get_num_threads", "openblas_set_num_threads", 1)),
      flexiblas_(exchange("flexiblas_get_num_threads", "flexiblas_set_num_threads", 1)) {
  if (const auto local = find<Exchange>("MKL_Set_Num_Threads_Local")) mkl_ = local(1);
}

OneBlasThread::~OneBlasThread() {
  give_back("openblas_set_num_threads", openblas_);
  give_back("flexiblas_set_num_threads", flexiblas_);
  if (const auto local = find<Exchange>("MKL_Set_Num_Threads_Local")) (void)local(mkl_);
}

}  // namespace refract
