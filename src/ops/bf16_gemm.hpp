#pragma once
// Dense products of bf16 operands with sums in fp32, for processors with AVX-512-BF16: twice the
// rate of fp32. The same promise as ops/gemm.hpp: a row's result is a function of that row and W
// alone, since each row has sums of its own, made in the same order whatever rows are beside it.
//
//   y = bf16(x) bf16(W)^T + b     pairs (k, k + 1) are added at once, k ascending
#include <cstdint>

#include "refract/tensor/tensor.hpp"

namespace refract {

[[nodiscard]] bool runs_bf16_gemm();  // this processor does

class Bf16Matrix {
 public:
  // W [N, K], b [N]; rounded to nearest, ties to even. Packing again reuses the memory.
  void pack(TensorView<const float> W, TensorView<const float> b);
  // Work memory of multiply for rows of K: bf16 pairs, as 32-bit words.
  [[nodiscard]] static std::size_t words(std::size_t rows, std::size_t K) {
    return rows * ((K + 1) / 2);
  }
  // x [M, K], y [M, N], work: words(M, K). On the calling thread.
  void multiply(TensorView<const float> x, std::uint32_t* work, TensorView<float> y) const;
  [[nodiscard]] std::size_t bytes() const { return tiles_.size() * sizeof(std::uint32_t); }

 private:
  std::size_t rows_ = 0, columns_ = 0;
  Buffer<std::uint32_t> tiles_;  // [tiles, pairs of K, 48 columns]
  Buffer<float> bias_;           // [N] and zeros up to a tile
};

}  // namespace refract
