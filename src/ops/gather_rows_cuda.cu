// x[i, column + d] = scale * stored[rows[i], d]; out[i] = flags[rows[i]]; out[i] = x[i] - offset.
// stored [R, width] f32, bf16 or f16; rows [n]; x, out [n, D] f32; offset [D]; flags [R], out [n].
// A warp owns rows and a lane every 32nd column, so that a row is read and written without gaps; a
// thread owns flags. Moved per element: its stored bytes and 4 (centre: 8): bound by memory.
// f32: stored values are widened exactly, then one rounding, that of the CPU body.
// Deterministic, bytes equal to the CPU's: no element sees another.
#include <cstdint>

#include "ops/cuda_bodies.hpp"
#include "refract/device/launch_cuda.cuh"

namespace refract::cuda {
namespace {

__device__ float widen(float value) { return value; }
struct Bf16Bits {
  std::uint16_t bits;
};
__device__ float widen(Bf16Bits value) { return __uint_as_float(unsigned{value.bits} << 16); }
struct F16Bits {
  std::uint16_t bits;
};
// Exponents of f16 begin 112 below those of f32; the product is exact, also of a subnormal.
__device__ float widen(F16Bits value) {
  const unsigned magnitude = (value.bits & 0x7FFFU) << 13;
  const unsigned finite = __float_as_uint(__uint_as_float(magnitude) * 0x1p112F);
  const unsigned widened = magnitude >= 0x0F800000U ? magnitude | 0x7F800000U : finite;
  return __uint_as_float(widened | (value.bits & 0x8000U) << 16);
}

template <typename Stored>
__global__ void gather_values(const Stored* stored, std::size_t width, const std::uint32_t* rows,
                              std::size_t n, float scale, float* x, std::size_t d_in) {
  const std::size_t warp = (std::size_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp,
                    warps = std::size_t{gridDim.x} * blockDim.x / kWarp;
  for (std::size_t i = warp; i < n; i += warps) {
    const Stored* from = stored + rows[i] * width;
    float* to = x + i * d_in;
    for (std::size_t d = threadIdx.x % kWarp; d < width; d += kWarp) to[d] = scale * widen(from[d]);
  }
}

__global__ void gather_flag_values(const std::uint8_t* flags, const std::uint32_t* rows,
                                   std::size_t n, bool narrow, std::uint8_t* out) {
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride)
    if (!narrow || out[i] != 0) out[i] = flags[rows[i]];
}

__global__ void centre(const float* x, const float* offset, std::size_t n, std::size_t d_in,
                       float* out) {
  const std::size_t warp = (std::size_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp,
                    warps = std::size_t{gridDim.x} * blockDim.x / kWarp;
  for (std::size_t i = warp; i < n; i += warps)
    for (std::size_t d = threadIdx.x % kWarp; d < d_in; d += kWarp)
      out[i * d_in + d] = offset ? x[i * d_in + d] - offset[d] : x[i * d_in + d];
}

}  // namespace

void gather_rows(const StoredRows& stored, TensorView<const std::uint32_t> rows, float scale,
                 std::size_t column, TensorView<float> x, Stream& stream) {
  const std::size_t n = rows.size(), width = stored.width;
  if (n == 0 || width == 0) return;
  const auto run = [&]<typename Stored>(const Stored* from) {
    launch("gather_values", gather_values<Stored>, grid_over(n * kWarp), stream, from, width,
           rows.data(), n, scale, x.data() + column, x.axis(1));
  };
  const std::byte* bytes = stored.bytes.data();
  switch (stored.dtype) {
    case DType::f32: return run(reinterpret_cast<const float*>(bytes));
    case DType::bf16: return run(reinterpret_cast<const Bf16Bits*>(bytes));
    default: return run(reinterpret_cast<const F16Bits*>(bytes));
  }
}

void gather_flags(TensorView<const std::uint8_t> flags, TensorView<const std::uint32_t> rows,
                  bool narrow, TensorView<std::uint8_t> out, Stream& stream) {
  launch("gather_flag_values", gather_flag_values, grid_over(rows.size()), stream, flags.data(),
         rows.data(), rows.size(), narrow, out.data());
}

void centre_rows(TensorView<const float> x, TensorView<const float> offset, TensorView<float> out,
                 Stream& stream) {
  if (offset.size() == 0 && out.data() == x.data()) return;
  launch("centre", centre, grid_over(x.axis(0) * kWarp), stream, x.data(),
         offset.size() != 0 ? offset.data() : nullptr, x.axis(0), x.axis(1), out.data());
}

}  // namespace refract::cuda
