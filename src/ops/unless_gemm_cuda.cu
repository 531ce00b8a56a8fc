// y := x W^T, unless a flag on the device is set: then nothing. x [M, K], W [N, K], y [M, N], f32.
// A block owns 64 x 64 values of y, a thread 4 x 4 of them, 16 apart; 16 columns of K at a time lie
// in shared memory, transposed.
// Each of x and W is read once for 64 rows of the other: 2 M N K / 16 bytes, mostly from L2.
// fp32, fused multiply-adds in ascending order of K: another order than cuBLAS's.
// Deterministic: a value is one thread's. For what runs rarely; else cuBLAS (cublas_gemm_cuda.cu).
#include <cstdint>

#include "ops/cuda_bodies.hpp"
#include "refract/device/launch_cuda.cuh"

namespace refract::cuda {
namespace {

constexpr unsigned kTile = 64, kDepth = 16, kSide = 16, kOwn = kTile / kSide,
                   kThreads = kSide * kSide;
// One column more, so that the 16 values of a row go to 16 banks.
using Panel = float[kDepth][kTile + 1];

// Rows [first, first + kTile) of a [rows, depth], columns [k, k + kDepth); zeros outside.
__device__ void load(const float* a, std::size_t rows, std::size_t depth, std::size_t first,
                     std::size_t k, Panel& panel) {
  const unsigned column = threadIdx.x % kDepth;
  for (unsigned r = threadIdx.x / kDepth; r < kTile; r += kThreads / kDepth)
    panel[column][r] =
        first + r < rows && k + column < depth ? a[(first + r) * depth + k + column] : 0.0F;
}

__global__ void __launch_bounds__(kThreads)
    product_unless(const std::uint64_t* unless, const float* x, std::size_t m, const float* W,
                   std::size_t n, std::size_t depth, float* y) {
  __shared__ Panel of_x;
  __shared__ Panel of_W;
  if (*unless != 0) return;
  const std::size_t across = (n + kTile - 1) / kTile, row = blockIdx.x / across * kTile,
                    column = blockIdx.x % across * kTile;
  const unsigned own_row = threadIdx.x / kSide, own_column = threadIdx.x % kSide;
  float sums[kOwn][kOwn] = {};
  for (std::size_t k = 0; k < depth; k += kDepth) {
    load(x, m, depth, row, k, of_x);
    load(W, n, depth, column, k, of_W);
    __syncthreads();
    for (unsigned d = 0; d < kDepth; ++d)
      for (unsigned i = 0; i < kOwn; ++i)
        for (unsigned j = 0; j < kOwn; ++j)
          sums[i][j] =
              fmaf(of_x[d][own_row + i * kSide], of_W[d][own_column + j * kSide], sums[i][j]);
    __syncthreads();
  }
  for (unsigned i = 0; i < kOwn; ++i)
    for (unsigned j = 0; j < kOwn; ++j) {
      const std::size_t r = row + own_row + i * kSide, c = column + own_column + j * kSide;
      if (r < m && c < n) y[r * n + c] = sums[i][j];
    }
}

}  // namespace

void gemm_nt_unless(TensorView<const std::uint64_t> unless, TensorView<const float> x,
                    TensorView<const float> W, TensorView<float> y, Stream& stream) {
  const std::size_t m = x.axis(0), n = W.axis(0),
                    blocks = (m + kTile - 1) / kTile * ((n + kTile - 1) / kTile);
  launch("product_unless", product_unless, Grid{blocks, kThreads}, stream, unless.data(), x.data(),
         m, W.data(), n, x.axis(1), y.data());
}

}  // namespace refract::cuda
