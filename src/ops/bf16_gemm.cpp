#include "ops/bf16_gemm.hpp"

#include <algorithm>
#include <array>

#include "refract/base/dtype.hpp"
#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace refract {
namespace {

constexpr std::size_t kVector = 16, kVectors = 3, kTile = kVector * kVectors;
// Eight rows by three vectors fill 24 of 32 registers with independent sums.
constexpr std::size_t kRows = 8;
// Pairs of a slab of one tile (24 KiB) stay in the first-level cache while rows pass over it.
constexpr std::size_t kPairs = 128;

#if defined(__x86_64__)

struct Slab {
  const std::uint32_t* x;  // rows of pairs, ld_x apart
  std::size_t ld_x;
  const std::uint32_t* w;  // [pairs, kTile]
  std::size_t pairs;
  const float* start;  // what sums begin with, ld_start apart (0: the bias for every row)
  std::size_t ld_start;
  float* y;
  std::size_t ld_y, columns;
};

template <std::size_t Rows>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512bf16")]] void multiply_slab(const Slab& s) {
  __m512 sums[Rows][kVectors];
  __mmask16 masks[kVectors];
  for (std::size_t c = 0; c < kVectors; ++c) {
    const std::size_t left = s.columns > c * kVector ? s.columns - c * kVector : 0;
    masks[c] = left >= kVector ? 0xFFFF : static_cast<__mmask16>((1u << left) - 1);
  }
  for (std::size_t r = 0; r < Rows; ++r)
    for (std::size_t c = 0; c < kVectors; ++c)
      sums[r][c] = _mm512_maskz_loadu_ps(masks[c], s.start + r * s.ld_start + c * kVector);
  for (std::size_t p = 0; p < s.pairs; ++p) {
    __m512bh w[kVectors];
#pragma GCC unroll 3
    for (std::size_t c = 0; c < kVectors; ++c)
      w[c] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(s.w + p * kTile + c * kVector));
#pragma GCC unroll 8
    for (std::size_t r = 0; r < Rows; ++r) {
      const auto x =
          reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(s.x[r * s.ld_x + p])));
#pragma GCC unroll 3
      for (std::size_t c = 0; c < kVectors; ++c) sums[r][c] = _mm512_dpbf16_ps(sums[r][c], x, w[c]);
    }
  }
  for (std::size_t r = 0; r < Rows; ++r)
    for (std::size_t c = 0; c < kVectors; ++c)
      _mm512_mask_storeu_ps(s.y + r * s.ld_y + c * kVector, masks[c], sums[r][c]);
}

void multiply_rows(const Slab& s, std::size_t rows) {
  switch (rows) {
    case 1: return multiply_slab<1>(s);
    case 2: return multiply_slab<2>(s);
    case 3: return multiply_slab<3>(s);
    case 4: return multiply_slab<4>(s);
    case 5: return multiply_slab<5>(s);
    case 6: return multiply_slab<6>(s);
    case 7: return multiply_slab<7>(s);
    default: return multiply_slab<8>(s);
  }
}

#endif

}  // namespace

bool runs_bf16_gemm() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

void Bf16Matrix::pack(TensorView<const float> W, TensorView<const float> b) {
  rows_ = W.axis(0);
  columns_ = W.axis(1);
  expect_shape(b, "b", {{"N", rows_}});
  const std::size_t pairs = (columns_ + 1) / 2, tiles = (rows_ + kTile - 1) / kTile;
  if (tiles_.size() != tiles * pairs * kTile) tiles_ = Buffer<std::uint32_t>(tiles * pairs * kTile);
  if (bias_.size() != tiles * kTile) bias_ = Buffer<float>(tiles * kTile);
  std::copy_n(b.data(), rows_, bias_.data());
  parallel_for(tiles, [&](std::size_t t) {
    std::uint32_t* tile = tiles_.data() + t * pairs * kTile;
    for (std::size_t c = 0; c < std::min(kTile, rows_ - t * kTile); ++c)
      for (std::size_t first = 0; first < pairs; first += kPairs) {
        const std::size_t some = std::min(kPairs, pairs - first);
        std::array<std::uint32_t, kPairs> row;
        row[some - 1] = 0;
        to_bf16(
            W.row(t * kTile + c).subspan(2 * first, std::min(2 * some, columns_ - 2 * first)),
            {reinterpret_cast<BFloat16*>(row.data()), std::min(2 * some, columns_ - 2 * first)});
        for (std::size_t p = 0; p < some; ++p) tile[(first + p) * kTile + c] = row[p];
      }
  });
}

void Bf16Matrix::multiply(TensorView<const float> x, std::uint32_t* work,
                          TensorView<float> y) const {
  const std::size_t M = x.axis(0), pairs = (columns_ + 1) / 2;
  expect_shape(x, "x", {{"M", M}, {"K", columns_}});
  expect_shape(y, "y", {{"M", M}, {"N", rows_}});
  REFRACT_ASSERT(runs_bf16_gemm(), "bf16 products of a processor without them, {} rows", M);
  for (std::size_t r = 0; r < M; ++r) {
    work[r * pairs + pairs - 1] = 0;  // the half beside a last odd value
    to_bf16(x.row(r), {reinterpret_cast<BFloat16*>(work + r * pairs), columns_});
  }
#if defined(__x86_64__)
  for (std::size_t first = 0; first < pairs || first == 0; first += kPairs)
    for (std::size_t c = 0; c < rows_; c += kTile)
      for (std::size_t r = 0; r < M; r += kRows) {
        float* to = y.data() + r * rows_ + c;
        multiply_rows({.x = work + r * pairs + first,
                       .ld_x = pairs,
                       .w = tiles_.data() + c * pairs + first * kTile,
                       .pairs = std::min(kPairs, pairs - first),
                       .start = first == 0 ? bias_.data() + c : to,
                       .ld_start = first == 0 ? 0 : rows_,
                       .y = to,
                       .ld_y = rows_,
                       .columns = std::min(kTile, rows_ - c)},
                      std::min(kRows, M - r));
      }
#endif
}

}  // namespace refract
