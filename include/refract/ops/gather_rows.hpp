#pragma once
// A batch from the rows that a device holds as they are stored.
//
//   x[i, column + d] = scale * stored[rows[i], d]
//
// Stored: f32, bf16 or f16 (SystemError for another), widened exactly, then multiplied in f32.
#include <cstdint>

#include "refract/base/dtype.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

struct StoredRows {
  TensorView<const std::byte> bytes;  // [R, width * byte_size(dtype)]
  DType dtype = DType::f32;
  std::size_t width = 0;
};

// rows [n] u32, each below R; x [n, D], of which the columns [column, column + width) are written.
void gather_rows(const StoredRows& stored, TensorView<const std::uint32_t> rows, float scale,
                 std::size_t column, TensorView<float> x, Stream& stream);

// out[i] = flags[rows[i]], and only where it already is not 0 if `narrow`: a row takes part when
// all of an SAE's hooks include it.
void gather_flags(TensorView<const std::uint8_t> flags, TensorView<const std::uint32_t> rows,
                  bool narrow, TensorView<std::uint8_t> out, Stream& stream);

// out[i] = x[i] - offset; an empty offset is zero. x, out [n, D], offset [D]; out may be x.
void centre_rows(TensorView<const float> x, TensorView<const float> offset, TensorView<float> out,
                 Stream& stream);

}  // namespace refract
