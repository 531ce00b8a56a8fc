#include "sae/row_kernels.hpp"

#include <limits>

namespace refract {

REFRACT_SIMD_CLONES
void add_scaled_rows(const float* const* rows, const float* scales, std::size_t count,
                     std::size_t d_in, float* y) {
  std::size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const float *r0 = rows[i], *r1 = rows[i + 1], *r2 = rows[i + 2], *r3 = rows[i + 3];
    const float a0 = scales[i], a1 = scales[i + 1], a2 = scales[i + 2], a3 = scales[i + 3];
#pragma GCC ivdep
    for (std::size_t d = 0; d < d_in; ++d)
      y[d] = (((y[d] + a0 * r0[d]) + a1 * r1[d]) + a2 * r2[d]) + a3 * r3[d];
  }
  for (; i < count; ++i) {
    const float* r = rows[i];
    const float a = scales[i];
#pragma GCC ivdep
    for (std::size_t d = 0; d < d_in; ++d) y[d] += a * r[d];
  }
}

REFRACT_SIMD_CLONES
void add_scaled_centred_rows(const float* const* rows, const float* scales, std::size_t count,
                             const float* offset, std::size_t d_in, float* y) {
  std::size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const float *r0 = rows[i], *r1 = rows[i + 1], *r2 = rows[i + 2], *r3 = rows[i + 3];
    const float a0 = scales[i], a1 = scales[i + 1], a2 = scales[i + 2], a3 = scales[i + 3];
#pragma GCC ivdep
    for (std::size_t d = 0; d < d_in; ++d) {
      const float o = offset[d];
      y[d] = (((y[d] + a0 * (r0[d] - o)) + a1 * (r1[d] - o)) + a2 * (r2[d] - o)) + a3 * (r3[d] - o);
    }
  }
  for (; i < count; ++i) {
    const float* r = rows[i];
    const float a = scales[i];
#pragma GCC ivdep
    for (std::size_t d = 0; d < d_in; ++d) y[d] += a * (r[d] - offset[d]);
  }
}

REFRACT_SIMD_CLONES
void group_maxima(const float* values, std::size_t blocks, std::size_t depth, float* maxima) {
  for (std::size_t b = 0; b < blocks; ++b) {
    const float* block = values + b * depth * kMaximaLanes;
    float lanes[kMaximaLanes];
    for (std::size_t l = 0; l < kMaximaLanes; ++l)
      lanes[l] = -std::numeric_limits<float>::infinity();
    for (std::size_t j = 0; j < depth; ++j)
      for (std::size_t l = 0; l < kMaximaLanes; ++l) {
        const float value = block[j * kMaximaLanes + l];
        lanes[l] = value > lanes[l] ? value : lanes[l];
      }
    for (std::size_t l = 0; l < kMaximaLanes; ++l) maxima[b * kMaximaLanes + l] = lanes[l];
  }
}

REFRACT_SIMD_CLONES
std::size_t indices_above(const float* values, std::size_t n, float bound, std::uint32_t* indices) {
  constexpr std::size_t kBlock = 32;
  std::size_t count = 0, i = 0;
  for (; i + kBlock <= n; i += kBlock) {
    int above = 0;
    for (std::size_t j = 0; j < kBlock; ++j) above |= values[i + j] > bound ? 1 : 0;
    if (above == 0) continue;
    for (std::size_t j = 0; j < kBlock; ++j) {
      indices[count] = static_cast<std::uint32_t>(i + j);
      count += values[i + j] > bound ? 1 : 0;
    }
  }
  for (; i < n; ++i) {
    indices[count] = static_cast<std::uint32_t>(i);
    count += values[i] > bound ? 1 : 0;
  }
  return count;
}

REFRACT_SIMD_CLONES
void subtract(const float* a, const float* b, std::size_t n, float* out) {
#pragma GCC ivdep
  for (std::size_t i = 0; i < n; ++i) out[i] = a[i] - b[i];
}

REFRACT_SIMD_CLONES
void scale(const float* a, float factor, std::size_t n, float* out) {
#pragma GCC ivdep
  for (std::size_t i = 0; i < n; ++i) out[i] = factor * a[i];
}

}  // namespace refract
