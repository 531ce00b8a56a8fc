// y = (x - before) W^T + after. x [n, K], W [N, K], y [n, N] f32; 512 rows at a time, always as
// many, so that cuBLAS takes the same kernel for any n; what rows behind the last give is dropped.
// cuBLAS and centre_rows (gather_rows_cuda.cu) own blocks and threads.
// Moved: 4 (4 n K + 3 n N) bytes and W; 2 n N K flop.
// fp32 multiplied and added in fp32 (cuBLAS pedantic), `after` added last. Deterministic: cuBLAS
// has one stream and a work memory of its own.
#include <algorithm>

#include "ops/cuda_bodies.hpp"
#include "ops/row_map_body.hpp"
#include "refract/device/launch_cuda.cuh"
#include "refract/ops/gemm_cuda.hpp"

namespace refract::cuda {
namespace {

class CudaRowMap final : public RowMapBody {
 public:
  CudaRowMap(TensorView<const float> W, TensorView<const float> before,
             TensorView<const float> after, Device device)
      : gemm_(device),
        W_(W.shape(), device),
        before_(before.shape(), device),
        minus_after_(after.shape(), device),
        centred_(Shape{kRowMapPanel, W.axis(1)}, device),
        product_(Shape{kRowMapPanel, W.axis(0)}, device) {
    Tensor<float> negated(after.shape()), zeros(centred_.shape());
    for (std::size_t i = 0; i < after.size(); ++i) negated.data()[i] = -after.data()[i];
    std::fill_n(zeros.data(), zeros.size(), 0.0F);
    Stream stream(device);
    copy_tensor(W, W_.view(), stream);
    copy_tensor(before, before_.view(), stream);
    copy_tensor(negated.cview(), minus_after_.view(), stream);
    copy_tensor(zeros.cview(), centred_.view(), stream);
    stream.synchronize();
  }

  void run(TensorView<const float> x, TensorView<float> y, Stream& stream) override {
    for (std::size_t first = 0; first < x.axis(0); first += kRowMapPanel) {
      const std::size_t count = std::min(kRowMapPanel, x.axis(0) - first);
      cuda::centre_rows(x.rows(first, count), before_.cview(), centred_.view().rows(0, count),
                        stream);
      gemm_.nt(centred_.cview(), W_.cview(), product_.view(), stream);
      cuda::centre_rows(product_.cview().rows(0, count), minus_after_.cview(), y.rows(first, count),
                        stream);
    }
  }

 private:
  Gemm gemm_;
  Tensor<float> W_, before_, minus_after_, centred_, product_;
};

}  // namespace
}  // namespace refract::cuda

std::unique_ptr<refract::RowMapBody> refract::make_cuda_row_map(TensorView<const float> W,
                                                                TensorView<const float> before,
                                                                TensorView<const float> after,
                                                                Device device) {
  return std::make_unique<cuda::CudaRowMap>(W, before, after, device);
}
