#pragma once
// Dense fp32 products whose rows do not depend on what else is in the call.
//
// A BLAS chooses its kernel by the number of rows, so a row's last bits change with the batch
// around it, and it repacks W in every call (SPEC 6). Here every element of y is the bias plus
// chains of 32 fused multiply-adds in ascending k, added in turn, and W is packed once. So a row's
// bytes are a function of that row and W alone: the same for any batch, number of ranks and number
// of threads, and for AVX2 and AVX-512. A machine without FMA rounds twice per term: other bytes,
// same independence. gemm_self_test proves it at start-up.
#include <cstddef>
#include <functional>
#include <string>

#include "refract/tensor/tensor.hpp"

namespace refract {

// W [N, K] and b [N], copied into the order the kernel reads. Packing again reuses the memory.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  // b may be an empty view: zeros.
  PackedMatrix(TensorView<const float> W, TensorView<const float> b, Stream& stream) {
    pack(W, b, stream);
  }
  void pack(TensorView<const float> W, TensorView<const float> b, Stream& stream);

  [[nodiscard]] std::size_t rows() const { return rows_; }        // N
  [[nodiscard]] std::size_t columns() const { return columns_; }  // K
  [[nodiscard]] const float* tiles() const { return tiles_.data(); }
  [[nodiscard]] const float* bias() const { return bias_.data(); }
  [[nodiscard]] Device device() const { return tiles_.device(); }

 private:
  std::size_t rows_ = 0, columns_ = 0;
  Buffer<float> tiles_;  // [tiles, K, tile columns], zeros behind row N
  Buffer<float> bias_;   // [N]
};

// y = x W^T + b.   x [M, K], W [N, K], y [M, N]; all f32 on the stream's device. y must not overlap
// x. M may be 0. Row i of x is row first_row + i of the global batch; a backend that computes in
// panels aligns them to the global row, the CPU kernel needs no alignment.
void gemm_nt(TensorView<const float> x, const PackedMatrix& W, TensorView<float> y,
             std::size_t first_row, Stream& stream);

// y = x W^T by any means, for the self-test: row i of x is row first_row + i of the global batch.
using RowProduct = std::function<void(TensorView<const float> x, TensorView<const float> W,
                                      TensorView<float> y, std::size_t first_row)>;

struct GemmSelfTest {
  bool passed = false;
  std::size_t rows_compared = 0;
  std::string difference;  // the first difference in words; empty when passed
};
// Checks by bytes that a row of the product is independent of the other rows' contents, of how many
// rows are multiplied with it (1..64, at several offsets) and of the number of threads. Takes well
// under a second.
[[nodiscard]] GemmSelfTest gemm_self_test();
[[nodiscard]] GemmSelfTest gemm_self_test(const RowProduct& product);

// What multiplies here, for run.yaml: "refract fp32 avx2+fma, tiles of 4 x 24".
[[nodiscard]] std::string gemm_backend_description();

}  // namespace refract
