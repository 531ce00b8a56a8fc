#pragma once
// One affine map of rows, y = (x - before) W^T + after.
//
// `before` is subtracted first: a mean that is large beside what W picks out would cancel in the
// product. A row's bytes are a function of that row alone: on the CPU as gemm_nt promises, on a GPU
// because every call of cuBLAS has the same shape.
#include <cstddef>
#include <memory>

#include "refract/tensor/tensor.hpp"

namespace refract {

class RowMapBody;  // src/ops

// Owns W as its body reads it, and work memory for some rows.
class RowMap {
 public:
  // W [N, K], before [K], after [N], f32 on the host, which are copied; an empty vector is zeros.
  RowMap(TensorView<const float> W, TensorView<const float> before, TensorView<const float> after,
         Device device);
  ~RowMap();
  RowMap(RowMap&&) noexcept;
  RowMap& operator=(RowMap&&) noexcept;

  // x [n, K], y [n, N] on its device; y must not overlap x.
  void run(TensorView<const float> x, TensorView<float> y, Stream& stream);
  // What it holds, for the plan.
  [[nodiscard]] static std::size_t bytes(std::size_t N, std::size_t K, Device device);

 private:
  std::unique_ptr<RowMapBody> body_;
};

}  // namespace refract
