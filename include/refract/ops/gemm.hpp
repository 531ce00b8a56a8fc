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
#include <string_view>
#include <vector>

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
  [[nodiscard]] std::size_t tile_columns() const { return tile_columns_; }  // of its kernel
  [[nodiscard]] Device device() const { return tiles_.device(); }

 private:
  std::size_t rows_ = 0, columns_ = 0, tile_columns_ = 0;
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

// What multiplies here, for run.yaml: "refract fp32 avx2+fma, tiles of 4 x 24". The fastest kernel
// this processor runs, until use_gemm_kernel chose another.
[[nodiscard]] std::string gemm_backend_description();
// The descriptions that use_gemm_kernel takes here, the fastest first: kernels that fuse, where the
// processor can, else the one that rounds twice. Not that one where the processor fuses: the bytes
// of the C library's pow and exp change with that too, so the run would not be the same.
[[nodiscard]] std::vector<std::string> gemm_backends();
// From now on products, here and in attention, are those of the kernel described: a run that was
// frozen on one processor computes the same bytes on another. False, and nothing is changed, when
// it is none of gemm_backends(). Once, before anything is packed: gemm_nt asserts that W was packed
// for the kernel in use.
[[nodiscard]] bool use_gemm_kernel(std::string_view description);

}  // namespace refract
