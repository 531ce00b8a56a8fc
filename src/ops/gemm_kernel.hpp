#pragma once
// The fp32 micro-kernel on the CPU, shared by gemm and attention: packed tiles and one product.
#include <cstddef>
#include <string_view>
#include <vector>

namespace refract {

struct GemmKernel {
  std::string_view name;     // "avx512f", "avx2+fma" or "generic"
  std::size_t tile_rows;     // rows of x per register tile
  std::size_t tile_columns;  // columns of y per packed tile
  bool fused;                // a multiply-add rounds once
};
// The kernel in use: the fastest that the processor runs, until another is set.
[[nodiscard]] const GemmKernel& gemm_kernel();
// All that the processor runs, the fastest first.
[[nodiscard]] std::vector<const GemmKernel*> runnable_gemm_kernels();
// One of those. What was packed before belongs to the kernel before.
void set_gemm_kernel(const GemmKernel& kernel);

[[nodiscard]] inline std::size_t tiles_for(std::size_t columns) {
  return (columns + gemm_kernel().tile_columns - 1) / gemm_kernel().tile_columns;
}

// Packs one tile: to[k, c] = from[c * column_stride + k * depth_stride] for c < count, else 0.
void pack_tile(const float* from, std::size_t column_stride, std::size_t depth_stride,
               std::size_t count, std::size_t depth, float* to /* [depth, tile_columns] */);

// y[r, c] = start[c] + sum over k of x[r, k] * packed[c / tile, k, c % tile]: chains of 32 FMAs in
// ascending k, each added in turn. depth is at least 1.
struct PanelProduct {
  const float* x;  // [rows, depth], row stride ld_x
  std::size_t ld_x, rows, depth;
  const float* packed;  // tiles of [tile_depth, tile_columns]; the first `depth` of each are used
  std::size_t tile_depth;
  const float* start;  // [columns], or null: zeros
  float* y;            // [rows, columns], row stride ld_y
  std::size_t ld_y, columns;
};
void multiply_panel(const PanelProduct& product);

}  // namespace refract
