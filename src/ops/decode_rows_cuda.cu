// out[i] = sum over the entries of row i (within bounds) of value * W_dec[feature], or base[i] -
// sum. W_dec [F, D], base, out [n, D] f32; entries by row. A warp owns kColumns * 32 columns of a
// row, a lane kColumns of them, 32 apart: each entry's piece of W_dec is read without gaps, and
// kColumns of them are under way at once. 4 k bytes moved per element of out (from L2 where
// features repeat) and 8: bound by memory. f32, entries in order, each product rounded:
// deterministic, bytes equal to the CPU's.
#include <cstdint>

#include "ops/cuda_bodies.hpp"
#include "refract/device/launch_cuda.cuh"

namespace refract::cuda {
namespace {

constexpr unsigned kColumns = 4;
constexpr std::size_t kPiece = std::size_t{kColumns} * kWarp;

struct EntriesOfRows {
  const std::uint64_t* starts;
  const std::uint32_t *counts, *features;
  const float* values;
};

__global__ void decode(EntriesOfRows entries, std::size_t n, const float* W_dec, std::size_t d_out,
                       const float* base, float* out, const std::uint64_t* unless_zero,
                       FeatureBounds of) {
  if (unless_zero && *unless_zero == 0) return;
  const std::size_t warp = (std::size_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp,
                    warps = std::size_t{gridDim.x} * blockDim.x / kWarp,
                    pieces = (d_out + kPiece - 1) / kPiece;
  for (std::size_t item = warp; item < n * pieces; item += warps) {
    const std::size_t row = item / pieces, column = item % pieces * kPiece + threadIdx.x % kWarp;
    const std::uint64_t first = entries.starts[row], end = first + entries.counts[row];
    float sums[kColumns] = {};
    for (std::uint64_t j = first; j < end; ++j) {
      if (entries.features[j] < of.first || entries.features[j] >= of.end) continue;
      const float* direction = W_dec + entries.features[j] * d_out + column;
      const float value = entries.values[j];
      for (unsigned c = 0; c < kColumns; ++c)
        if (column + c * kWarp < d_out) sums[c] += value * direction[c * kWarp];
    }
    const std::size_t at = row * d_out + column;
    for (unsigned c = 0; c < kColumns; ++c)
      if (column + c * kWarp < d_out)
        out[at + c * kWarp] = base ? base[at + c * kWarp] - sums[c] : sums[c];
  }
}

__global__ void subtract_sums(const float* base, float* sums, std::size_t size) {
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < size; i += stride)
    sums[i] = base[i] - sums[i];
}

}  // namespace

void decode_rows(const RowEntries& entries, TensorView<const float> W_dec,
                 TensorView<const float> base, TensorView<float> out,
                 TensorView<const std::uint64_t> unless_zero, Stream& stream,
                 const FeatureBounds& of) {
  const std::size_t n = entries.rows(), d_out = out.axis(1), pieces = (d_out + kPiece - 1) / kPiece;
  launch("decode", decode, grid_over(n * pieces * kWarp), stream,
         EntriesOfRows{entries.starts.data(), entries.counts.data(), entries.features.data(),
                       entries.values.data()},
         n, W_dec.data(), d_out, base.size() != 0 ? base.data() : nullptr, out.data(),
         unless_zero.size() != 0 ? unless_zero.data() : nullptr, of);
}

void subtract_from(TensorView<const float> base, TensorView<float> sums, Stream& stream) {
  launch("subtract_sums", subtract_sums, grid_over(sums.size()), stream, base.data(), sums.data(),
         sums.size());
}

}  // namespace refract::cuda
