#include "refract/ops/gather_rows.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "ops/backend.hpp"
#include "ops/cuda_bodies.hpp"
#include "ops/workers.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/ops/row_kernels.hpp"

namespace refract {
namespace {

REFRACT_SIMD_CLONES
void widen_bf16(const std::byte* from, float factor, std::size_t n, float* to) {
  for (std::size_t d = 0; d < n; ++d) {
    std::uint16_t bits;
    std::memcpy(&bits, from + 2 * d, 2);
    to[d] = factor * std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
}

void widen_f16(const std::byte* from, float factor, std::size_t n, float* to) {
  for (std::size_t d = 0; d < n; ++d) {
    std::uint16_t bits;
    std::memcpy(&bits, from + 2 * d, 2);
    to[d] = factor * half_to_float(bits);
  }
}

}  // namespace

void gather_rows(const StoredRows& stored, TensorView<const std::uint32_t> rows, float factor,
                 std::size_t column, TensorView<float> x, Stream& stream) {
  const std::size_t n = rows.size(), width = stored.width, d_in = x.axis(1);
  if (stored.dtype != DType::f32 && stored.dtype != DType::bf16 && stored.dtype != DType::f16)
    throw SystemError("gather_rows: rows are stored as {}; expected fp32, bf16 or fp16",
                      name(stored.dtype));
  expect_shape(x, "x", {{"n", n}, {"D", d_in}});
  REFRACT_ASSERT(column + width <= d_in, "columns {} to {} of {}", column, column + width, d_in);
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::gather_rows(stored, rows, factor, column, x, stream);
  expect_cpu(stream, "gather_rows");
  const std::size_t row_bytes = width * byte_size(stored.dtype);
  for_each_row(n, [&](std::size_t i) {
    const std::byte* from = stored.bytes.data() + rows.data()[i] * row_bytes;
    float* to = x.data() + i * d_in + column;
    switch (stored.dtype) {
      case DType::f32: scale(reinterpret_cast<const float*>(from), factor, width, to); break;
      case DType::bf16: widen_bf16(from, factor, width, to); break;
      default: widen_f16(from, factor, width, to);
    }
  });
}

void gather_flags(TensorView<const std::uint8_t> flags, TensorView<const std::uint32_t> rows,
                  bool narrow, TensorView<std::uint8_t> out, Stream& stream) {
  expect_shape(out, "out", {{"n", rows.size()}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::gather_flags(flags, rows, narrow, out, stream);
  expect_cpu(stream, "gather_flags");
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (!narrow || out.data()[i] != 0) out.data()[i] = flags.data()[rows.data()[i]];
}

void centre_rows(TensorView<const float> x, TensorView<const float> offset, TensorView<float> out,
                 Stream& stream) {
  const std::size_t n = x.axis(0), d_in = x.axis(1);
  expect_shape(out, "out", {{"n", n}, {"D", d_in}});
  if (offset.size() != 0) expect_shape(offset, "offset", {{"D", d_in}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda) return cuda::centre_rows(x, offset, out, stream);
  expect_cpu(stream, "centre_rows");
  for_each_row(n, [&](std::size_t i) {
    const float* from = x.data() + i * d_in;
    float* to = out.data() + i * d_in;
    if (offset.size() != 0)
      subtract(from, offset.data(), d_in, to);
    else if (to != from)
      std::copy_n(from, d_in, to);
  });
}

}  // namespace refract
