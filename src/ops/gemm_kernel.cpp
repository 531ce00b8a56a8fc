// Compiled with -ffp-contract=fast: here a multiply-add means the fused one
// (src/ops/CMakeLists.txt).
#include "ops/gemm_kernel.hpp"

#include <algorithm>
#include <atomic>

namespace refract {
namespace {

// Four rows by three vectors fill twelve of sixteen registers with independent chains, enough to
// hide the latency of two FMA units.
constexpr std::size_t kRows = 4, kVectors = 3;
// A tile's slab of this depth (24 KiB with AVX2) stays in the first-level cache while rows pass
// over it.
constexpr std::size_t kDepth = 256;
// Terms a register sums before it is added to y, part of the numerics. Short chains lose less: the
// residuals of the demo model come out 1.7 times nearer to fp64 than with 256, for a few per cent
// of the time.
constexpr std::size_t kChain = 32;
static_assert(kDepth % kChain == 0);

template <std::size_t Width>
using Vector [[gnu::vector_size(Width * sizeof(float)), gnu::aligned(4), gnu::may_alias]] = float;

// What sums are added to: the start row for the first chain (stride 0), y itself for the others.
struct Base {
  const float* values;
  std::size_t ld;
};

template <std::size_t Width>
[[gnu::always_inline]] inline void add_chain(const float* x, std::size_t ld_x, const float* w,
                                             std::size_t depth, Base base, float* y,
                                             std::size_t ld_y) {
  using V = Vector<Width>;
  V sums[kRows][kVectors] = {};
  for (std::size_t k = 0; k < depth; ++k) {
    V columns[kVectors];
#pragma GCC unroll 3
    for (std::size_t c = 0; c < kVectors; ++c)
      columns[c] = *reinterpret_cast<const V*>(w + (k * kVectors + c) * Width);
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kRows; ++r) {
      const float value = x[r * ld_x + k];
#pragma GCC unroll 3
      for (std::size_t c = 0; c < kVectors; ++c) sums[r][c] += value * columns[c];
    }
  }
#pragma GCC unroll 4
  for (std::size_t r = 0; r < kRows; ++r)
#pragma GCC unroll 3
    for (std::size_t c = 0; c < kVectors; ++c)
      *reinterpret_cast<V*>(y + r * ld_y + c * Width) =
          *reinterpret_cast<const V*>(base.values + r * base.ld + c * Width) + sums[r][c];
}

template <std::size_t Width>
[[gnu::always_inline]] inline void multiply_tile(const float* x, std::size_t ld_x, const float* w,
                                                 std::size_t depth, Base base, float* y,
                                                 std::size_t ld_y) {
  constexpr std::size_t kTile = Width * kVectors;
  // Sums wait in a buffer that stays in the first-level cache; y, which may not, is written once.
  alignas(64) float waiting[kRows * kTile];
  std::size_t k = 0;
  for (; k + kChain < depth; k += kChain) {
    add_chain<Width>(x + k, ld_x, w + k * kTile, kChain, base, waiting, kTile);
    base = {waiting, kTile};
  }
  add_chain<Width>(x + k, ld_x, w + k * kTile, depth - k, base, y, ld_y);
}

struct Edge {
  std::size_t rows, columns;  // that are there
};
// A tile at the lower or right edge: through copies of full size, so that the sums are the same.
template <std::size_t Width>
[[gnu::always_inline]] inline void multiply_edge(const float* x, std::size_t ld_x, const float* w,
                                                 std::size_t depth, Base base, float* y,
                                                 std::size_t ld_y, Edge edge) {
  constexpr std::size_t kTile = Width * kVectors;
  float x_copy[kRows * kDepth] = {}, y_copy[kRows * kTile] = {};
  for (std::size_t r = 0; r < edge.rows; ++r) {
    std::copy_n(x + r * ld_x, depth, x_copy + r * kDepth);
    std::copy_n(base.values + r * base.ld, edge.columns, y_copy + r * kTile);
  }
  multiply_tile<Width>(x_copy, kDepth, w, depth, {y_copy, kTile}, y_copy, kTile);
  for (std::size_t r = 0; r < edge.rows; ++r)
    std::copy_n(y_copy + r * kTile, edge.columns, y + r * ld_y);
}

template <std::size_t Width>
[[gnu::always_inline]] inline void multiply(const PanelProduct& p) {
  constexpr std::size_t kTile = Width * kVectors;
  static constexpr float kZeros[kTile] = {};
  for (std::size_t k = 0; k < p.depth; k += kDepth) {
    const std::size_t depth = std::min(kDepth, p.depth - k);
    for (std::size_t c = 0; c < p.columns; c += kTile) {
      const float* slab = p.packed + c * p.tile_depth + k * kTile;
      const std::size_t columns = std::min(kTile, p.columns - c);
      const Base start{p.start ? p.start + c : kZeros, 0};
      for (std::size_t r = 0; r < p.rows; r += kRows) {
        const std::size_t rows = std::min(kRows, p.rows - r);
        const float* x = p.x + r * p.ld_x + k;
        float* y = p.y + r * p.ld_y + c;
        const Base base = k == 0 ? start : Base{y, p.ld_y};
        if (rows == kRows && columns == kTile)
          multiply_tile<Width>(x, p.ld_x, slab, depth, base, y, p.ld_y);
        else
          multiply_edge<Width>(x, p.ld_x, slab, depth, base, y, p.ld_y, {rows, columns});
      }
    }
  }
}

#if defined(__x86_64__)
[[gnu::target("avx512f,fma")]] void multiply_avx512(const PanelProduct& p) { multiply<16>(p); }
[[gnu::target("avx2,fma")]] void multiply_avx2(const PanelProduct& p) { multiply<8>(p); }
#endif
void multiply_generic(const PanelProduct& p) { multiply<4>(p); }

struct Row {
  GemmKernel kernel;
  void (*multiply)(const PanelProduct&);
  bool (*runs)();
};

// The fastest first.
constexpr Row kKernels[] = {
#if defined(__x86_64__)
    {{"avx512f", kRows, 16 * kVectors, true},
     multiply_avx512,
     [] { return __builtin_cpu_supports("avx512f") != 0; }},
    {{"avx2+fma", kRows, 8 * kVectors, true},
     multiply_avx2,
     [] { return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0; }},
#endif
    {{"generic", kRows, 4 * kVectors, false}, multiply_generic, [] { return true; }},
};

// The one choice of the process, made before it computes (use_gemm_kernel).
std::atomic<const Row*>& chosen() {
  static std::atomic<const Row*> row =
      std::ranges::find_if(kKernels, [](const Row& candidate) { return candidate.runs(); });
  return row;
}

}  // namespace

const GemmKernel& gemm_kernel() { return chosen().load(std::memory_order_relaxed)->kernel; }

std::vector<const GemmKernel*> runnable_gemm_kernels() {
  std::vector<const GemmKernel*> kernels;
  for (const Row& row : kKernels)
    if (row.runs()) kernels.push_back(&row.kernel);
  return kernels;
}

void set_gemm_kernel(const GemmKernel& kernel) {
  for (const Row& row : kKernels)
    if (&row.kernel == &kernel) chosen().store(&row);
}

void pack_tile(const float* from, std::size_t column_stride, std::size_t depth_stride,
               std::size_t count, std::size_t depth, float* to) {
  const std::size_t tile = gemm_kernel().tile_columns;
  for (std::size_t k = 0; k < depth; ++k) {
    for (std::size_t c = 0; c < count; ++c)
      to[k * tile + c] = from[c * column_stride + k * depth_stride];
    std::fill(to + k * tile + count, to + (k + 1) * tile, 0.0F);
  }
}

void multiply_panel(const PanelProduct& product) {
  chosen().load(std::memory_order_relaxed)->multiply(product);
}

}  // namespace refract
