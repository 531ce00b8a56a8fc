#pragma once
// Dense products on CUDA: cuBLAS in fp32, never TF32 (src/ops/cublas_gemm_cuda.cu). Behind this
// header because tests/emulated puts a loop in its place. Names no CUDA type.
#include <memory>

#include "refract/tensor/tensor.hpp"

namespace refract::cuda {

// What cuBLAS advises for Hopper.
inline constexpr std::size_t kCublasWorkspaceBytes = std::size_t{32} << 20;

// A handle and its work memory on one device, for one stream at a time. Throws SystemError.
class Gemm {
 public:
  explicit Gemm(Device device);
  ~Gemm();
  Gemm(Gemm&&) noexcept;
  Gemm& operator=(Gemm&&) noexcept;

  // y [M, N] := x [M, K] W [N, K]^T, f32 on the device. Enqueues. Multiplied and added in fp32, in
  // an order that is the same for the same M, N, K. M, N, K below 2^31; K is at least 1.
  void nt(TensorView<const float> x, TensorView<const float> W, TensorView<float> y,
          Stream& stream);

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

}  // namespace refract::cuda
