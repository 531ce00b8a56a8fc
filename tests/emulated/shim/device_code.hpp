#pragma once
// What a kernel may use (include/refract/device/launch_cuda.cuh), as C++ on fibers.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>

#include "emulated/block.hpp"
#include "emulated/races.hpp"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
// One block at a time, so the block's memory is static. Its own section, so that all of it can be
// filled with garbage before each block. A compiler's complaint about a conflict of section types
// means: not in a kernel of an anonymous namespace. gcc drops the section in a template, which
// races.cpp reports.
#define __shared__ __attribute__((section("refract_shared"))) static

namespace refract::emulated {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};
inline constexpr unsigned kAllLanes = 32;

template <typename T>
T shuffle(unsigned mask, T value, unsigned source, std::source_location where) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = warp_operation(WarpOp::shuffle, mask, bits, source, where);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

// Other threads may come before it and after it, never between its read and its write.
template <typename T, typename Change>
__attribute__((no_sanitize("thread"))) T atomically(T* at, Change change) {
  give_way();
  note_access(at, sizeof(T), Access::atomic);
  const T before = *at;
  *at = change(before);
  return before;
}

}  // namespace refract::emulated

extern refract::emulated::Index threadIdx, blockIdx, blockDim, gridDim;

inline void __syncthreads(std::source_location where = std::source_location::current()) {
  refract::emulated::barrier(where);
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFU,
                       std::source_location where = std::source_location::current()) {
  refract::emulated::warp_operation(refract::emulated::WarpOp::sync, mask, 0, 0, where);
}
inline void __threadfence() { refract::emulated::fence(); }

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              std::source_location where = std::source_location::current()) {
  return static_cast<unsigned>(refract::emulated::warp_operation(
      refract::emulated::WarpOp::vote, mask, predicate != 0 ? 1 : 0, 0, where));
}
inline int __any_sync(unsigned mask, int predicate,
                      std::source_location where = std::source_location::current()) {
  return __ballot_sync(mask, predicate, where) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate,
                      std::source_location where = std::source_location::current()) {
  return __ballot_sync(mask, predicate, where) == mask ? 1 : 0;
}

// `width` lanes are a segment; a source outside it is the lane itself, but for __shfl_sync, which
// counts round in the segment (CUDA C++ Programming Guide, warp shuffle functions).
template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              std::source_location where = std::source_location::current()) {
  const unsigned lane = threadIdx.x % 32, segment = static_cast<unsigned>(width);
  return refract::emulated::shuffle(
      mask, value, lane / segment * segment + static_cast<unsigned>(source) % segment, where);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 std::source_location where = std::source_location::current()) {
  const unsigned lane = threadIdx.x % 32, within = lane % static_cast<unsigned>(width);
  return refract::emulated::shuffle(mask, value, within < delta ? lane : lane - delta, where);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   std::source_location where = std::source_location::current()) {
  const unsigned lane = threadIdx.x % 32, segment = static_cast<unsigned>(width);
  return refract::emulated::shuffle(mask, value,
                                    lane % segment + delta < segment ? lane + delta : lane, where);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int flip, int width = 32,
                  std::source_location where = std::source_location::current()) {
  const unsigned lane = threadIdx.x % 32, segment = static_cast<unsigned>(width),
                 other = lane ^ static_cast<unsigned>(flip);
  return refract::emulated::shuffle(mask, value,
                                    other < (lane / segment + 1) * segment ? other : lane, where);
}

#define REFRACT_ATOMIC(T, name, change)                                                  \
  inline T name(T* at, T value) {                                                        \
    return refract::emulated::atomically(at, [value](T before) -> T { return change; }); \
  }
REFRACT_ATOMIC(int, atomicAdd, before + value)
REFRACT_ATOMIC(unsigned, atomicAdd, before + value)
REFRACT_ATOMIC(unsigned long long, atomicAdd, before + value)
REFRACT_ATOMIC(float, atomicAdd, before + value)
REFRACT_ATOMIC(double, atomicAdd, before + value)
REFRACT_ATOMIC(int, atomicMax, std::max(before, value))
REFRACT_ATOMIC(unsigned, atomicMax, std::max(before, value))
REFRACT_ATOMIC(unsigned long long, atomicMax, std::max(before, value))
REFRACT_ATOMIC(int, atomicMin, std::min(before, value))
REFRACT_ATOMIC(unsigned, atomicMin, std::min(before, value))
REFRACT_ATOMIC(unsigned long long, atomicMin, std::min(before, value))
#undef REFRACT_ATOMIC

inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __clz(int bits) { return std::countl_zero(static_cast<unsigned>(bits)); }
inline int __ffs(int bits) {  // 0 for 0, 1 for the lowest bit
  return bits == 0 ? 0 : std::countr_zero(static_cast<unsigned>(bits)) + 1;
}
inline float rsqrtf(float value) { return 1.0F / sqrtf(value); }

inline int min(int a, int b) { return std::min(a, b); }
inline int max(int a, int b) { return std::max(a, b); }
inline unsigned min(unsigned a, unsigned b) { return std::min(a, b); }
inline unsigned max(unsigned a, unsigned b) { return std::max(a, b); }
inline unsigned long min(unsigned long a, unsigned long b) { return std::min(a, b); }
inline unsigned long max(unsigned long a, unsigned long b) { return std::max(a, b); }
inline unsigned long long min(unsigned long long a, unsigned long long b) { return std::min(a, b); }
inline unsigned long long max(unsigned long long a, unsigned long long b) { return std::max(a, b); }
inline float min(float a, float b) { return fminf(a, b); }  // of a number and NaN the number
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
