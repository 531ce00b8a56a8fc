#include "refract/ops/gemm.hpp"

#include <algorithm>

#include "ops/backend.hpp"
#include "ops/gemm_kernel.hpp"
#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

// One task: rows that stay in the second-level cache, by columns that give a small call enough
// tasks.
constexpr std::size_t kTaskRows = 64;
constexpr std::size_t kTaskTiles = 12;

std::string describe(const GemmKernel& kernel) {
  return fmt::format("refract fp32 {}, tiles of {} x {}", kernel.name, kernel.tile_rows,
                     kernel.tile_columns);
}

std::vector<const GemmKernel*> offered_kernels() {
  std::vector<const GemmKernel*> kernels = runnable_gemm_kernels();
  const bool fuses = kernels.front()->fused;
  std::erase_if(kernels, [&](const GemmKernel* kernel) { return kernel->fused != fuses; });
  return kernels;
}

}  // namespace

void PackedMatrix::pack(TensorView<const float> W, TensorView<const float> b, Stream& stream) {
  expect_cpu(stream, "gemm_nt");
  REFRACT_ASSERT(W.axis(1) > 0, "W has no columns");
  rows_ = W.axis(0);
  columns_ = W.axis(1);
  if (b.data()) expect_shape(b, "b", {{"N", rows_}});
  const std::size_t tile = tile_columns_ = gemm_kernel().tile_columns, tiles = tiles_for(rows_);
  if (const std::size_t size = tiles * columns_ * tile; tiles_.size() != size)
    tiles_ = Buffer<float>(size);
  if (bias_.size() != rows_) bias_ = Buffer<float>(rows_);
  if (b.data())
    std::copy_n(b.data(), rows_, bias_.data());
  else
    std::fill_n(bias_.data(), rows_, 0.0F);
  parallel_for(tiles, [&](std::size_t t) {
    const std::size_t first = t * tile;
    pack_tile(W.data() + first * columns_, columns_, 1, std::min(tile, rows_ - first), columns_,
              tiles_.data() + first * columns_);
  });
}

void gemm_nt(TensorView<const float> x, const PackedMatrix& W, TensorView<float> y,
             std::size_t /*first_row*/, Stream& stream) {
  expect_cpu(stream, "gemm_nt");
  const std::size_t rows = x.axis(0);
  expect_shape(x, "x", {{"M", rows}, {"K", W.columns()}});
  expect_shape(y, "y", {{"M", rows}, {"N", W.rows()}});
  const std::size_t tile = gemm_kernel().tile_columns;
  REFRACT_ASSERT(W.rows() == 0 || W.tile_columns() == tile,
                 "W was packed in tiles of {} columns, the kernel in use has {}", W.tile_columns(),
                 tile);
  const std::size_t row_tasks = (rows + kTaskRows - 1) / kTaskRows;
  const std::size_t column_tasks = (tiles_for(W.rows()) + kTaskTiles - 1) / kTaskTiles;
  parallel_for(row_tasks * column_tasks, [&](std::size_t task) {
    const std::size_t r = task / column_tasks * kTaskRows,
                      c = task % column_tasks * kTaskTiles * tile;
    const std::size_t task_rows = std::min(kTaskRows, rows - r),
                      columns = std::min(kTaskTiles * tile, W.rows() - c);
    multiply_panel({.x = x.data() + r * W.columns(),
                    .ld_x = W.columns(),
                    .rows = task_rows,
                    .depth = W.columns(),
                    .packed = W.tiles() + c * W.columns(),
                    .tile_depth = W.columns(),
                    .start = W.bias() + c,
                    .y = y.data() + r * W.rows() + c,
                    .ld_y = W.rows(),
                    .columns = columns});
  });
}

std::string gemm_backend_description() { return describe(gemm_kernel()); }

std::vector<std::string> gemm_backends() {
  std::vector<std::string> backends;
  for (const GemmKernel* kernel : offered_kernels()) backends.push_back(describe(*kernel));
  return backends;
}

bool use_gemm_kernel(std::string_view description) {
  for (const GemmKernel* kernel : offered_kernels())
    if (describe(*kernel) == description) {
      set_gemm_kernel(*kernel);
      return true;
    }
  return false;
}

}  // namespace refract
