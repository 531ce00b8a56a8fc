// to := from rounded to bf16 (nearest, ties to even), and back.
// from, to: any shape, f32 and bf16, seen as their bits.
// A thread owns every (grid size)-th element.
// 6 bytes moved per element: bound by memory.
// No floating-point operation: integers alone, so a NaN keeps its sign and a denormal is kept.
// Deterministic: no element sees another.
#include <cstdint>

#include "comm/wire_cuda.hpp"
#include "refract/device/launch_cuda.cuh"

namespace refract::cuda {
namespace {

__global__ void bf16_of_f32(const std::uint32_t* from, std::uint16_t* to, std::size_t count) {
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += stride) {
    const std::uint32_t bits = from[i];
    const bool nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
    to[i] = static_cast<std::uint16_t>(nan ? (bits >> 16) | 0x40u
                                           : (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
  }
}

__global__ void f32_of_bf16(const std::uint16_t* from, std::uint32_t* to, std::size_t count) {
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += stride)
    to[i] = static_cast<std::uint32_t>(from[i]) << 16;
}

}  // namespace

void to_bf16(const float* from, BFloat16* to, std::size_t count, Stream& stream) {
  launch("to_bf16", bf16_of_f32, grid_over(count), stream,
         reinterpret_cast<const std::uint32_t*>(from), reinterpret_cast<std::uint16_t*>(to), count);
}

void to_float(const BFloat16* from, float* to, std::size_t count, Stream& stream) {
  launch("to_float", f32_of_bf16, grid_over(count), stream,
         reinterpret_cast<const std::uint16_t*>(from), reinterpret_cast<std::uint32_t*>(to), count);
}

}  // namespace refract::cuda
