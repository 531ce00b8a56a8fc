#pragma once

namespace refract {

// Within its life the BLAS below LAPACK computes on one thread, as far as it can be told (OpenBLAS,
// FlexiBLAS, MKL; the reference BLAS has only one): with several, the last bits of a result depend
// on how many there are, and so on how many ranks share the cores.
class OneBlasThread {
 public:
  OneBlasThread();
  ~OneBlasThread();
  OneBlasThread(const OneBlasThread&) = delete;

 private:
  int openblas_ = 0, flexiblas_ = 0, mkl_ = 0;  // as they were
};

}  // namespace refract
