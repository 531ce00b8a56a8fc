// Stands in for src/ops/cublas_gemm_cuda.cu: the sums in ascending order of K, on the host.
#include <algorithm>

#include "cuda_runtime.h"
#include "emulated/arena.hpp"
#include "refract/base/parallel.hpp"
#include "refract/device/cuda_launch.hpp"
#include "refract/ops/gemm_cuda.hpp"

namespace refract::cuda {

struct Gemm::Body {
  Device device;
};

Gemm::Gemm(Device device) : body_(std::make_unique<Body>(Body{device})) {}
Gemm::~Gemm() = default;
Gemm::Gemm(Gemm&&) noexcept = default;
Gemm& Gemm::operator=(Gemm&&) noexcept = default;

void Gemm::nt(TensorView<const float> x, TensorView<const float> W, TensorView<float> y,
              Stream& stream) {
  const int device = stream.device().index;
  for (const void* data : {static_cast<const void*>(x.data()), static_cast<const void*>(W.data()),
                           static_cast<const void*>(y.data())})
    if (emulated::device_of(data) != device)
      throw_cuda_error("gemm", device, "an operand is not in the memory of this device");
  const emulated::Open open(device);
  parallel_for(x.axis(0), [&](std::size_t m) {
    const std::span<const float> row = x.row(m);
    // Rows behind a panel's last are zeros, and many.
    const bool zero = std::all_of(row.begin(), row.end(), [](float value) { return value == 0; });
    for (std::size_t n = 0; n < W.axis(0); ++n) {
      float sum = 0;
      for (std::size_t k = 0; !zero && k < row.size(); ++k) sum += row[k] * W.row(n)[k];
      y.row(m)[n] = sum;
    }
  });
}

}  // namespace refract::cuda
