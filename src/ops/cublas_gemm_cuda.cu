// y := x W^T. x [M, K], W [N, K], y [M, N], f32, row-major.
// cuBLAS owns blocks and threads. 4 (M K + N K + M N) bytes at least; 2 M N K flop.
// fp32 multiplied and added in fp32 (pedantic: no TF32, no emulation). Deterministic: one stream
// and a work memory of its own.
#include <cublas_v2.h>

#include "refract/device/cuda_launch.hpp"
#include "refract/ops/gemm_cuda.hpp"

namespace refract::cuda {

struct Gemm::Body {
  explicit Body(Device on) : device(on), workspace(kCublasWorkspaceBytes, on) {
    check(cublasCreate(&handle),
          "cublasCreate");  // on the device that allocating the workspace made current
  }
  ~Body() {
    if (handle) cublasDestroy(handle);
  }
  Body(const Body&) = delete;
  Body& operator=(const Body&) = delete;

  void check(cublasStatus_t code, const char* doing) const {
    if (code != CUBLAS_STATUS_SUCCESS)
      throw_cuda_error(doing, device.index, cublasGetStatusString(code));
  }

  Device device;
  RawBuffer workspace;
  cublasHandle_t handle = nullptr;
};

Gemm::Gemm(Device device) : body_(std::make_unique<Body>(device)) {}
Gemm::~Gemm() = default;
Gemm::Gemm(Gemm&&) noexcept = default;
Gemm& Gemm::operator=(Gemm&&) noexcept = default;

void Gemm::nt(TensorView<const float> x, TensorView<const float> W, TensorView<float> y,
              Stream& stream) {
  const auto queue = static_cast<cudaStream_t>(enter(stream));
  const int m = static_cast<int>(x.axis(0)), k = static_cast<int>(x.axis(1)),
            n = static_cast<int>(W.axis(0));
  const float one = 1, zero = 0;
  body_->check(cublasSetStream(body_->handle, queue), "cublasSetStream");  // forgets the workspace
  body_->check(cublasSetWorkspace(body_->handle, body_->workspace.data(), body_->workspace.bytes()),
               "cublasSetWorkspace");
  body_->check(cublasSetMathMode(body_->handle, CUBLAS_PEDANTIC_MATH), "cublasSetMathMode");
  // Column-major, as cuBLAS sees our rows: y^T [N, M] = W [N, K] . x^T [K, M].
  body_->check(cublasSgemm(body_->handle, CUBLAS_OP_T, CUBLAS_OP_N, n, m, k, &one, W.data(), k,
                           x.data(), k, &zero, y.data(), n),
               "cublasSgemm");
}

}  // namespace refract::cuda
