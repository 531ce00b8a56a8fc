#pragma once
// What a RowMap does, by bodies: row_map.cpp (CPU), row_map_cuda.cu.
#include <memory>

#include "refract/ops/row_map.hpp"

namespace refract {

class RowMapBody {
 public:
  virtual ~RowMapBody() = default;
  virtual void run(TensorView<const float> x, TensorView<float> y, Stream& stream) = 0;
};

// Rows that are multiplied at a time.
inline constexpr std::size_t kRowMapPanel = 512;

// Called only where has_cuda holds.
[[nodiscard]] std::unique_ptr<RowMapBody> make_cuda_row_map(TensorView<const float> W,
                                                            TensorView<const float> before,
                                                            TensorView<const float> after,
                                                            Device device);

}  // namespace refract
