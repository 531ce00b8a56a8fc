#include "refract/ops/row_kernels.hpp"

#include <limits>

namespace refract {
namespace {

constexpr std::size_t kDotLanes = 16;
using Lanes [[gnu::vector_size(kDotLanes * sizeof(float)), gnu::aligned(4), gnu::may_alias]] =
    float;

[[gnu::always_inline]] inline Lanes load(const float* from) {
  return *reinterpret_cast<const Lanes*>(from);
}
[[gnu::always_inline]] inline void store(const Lanes& value, float* to) {
  *reinterpret_cast<Lanes*>(to) = value;
}
[[gnu::always_inline]] inline float add_lanes(const Lanes& lanes) {
  float sums[kDotLanes];
  for (std::size_t l = 0; l < kDotLanes; ++l) sums[l] = lanes[l];
  for (std::size_t half = kDotLanes / 2; half > 0; half /= 2)
    for (std::size_t l = 0; l < half; ++l) sums[l] += sums[l + half];
  return sums[0];
}

}  // namespace

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
void add_scaled_rows_with_dots(const float* const* rows, const float* scales, std::size_t count,
                               const float* direction, std::size_t d_in, float* y, float* dots) {
  std::size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const float *r0 = rows[i], *r1 = rows[i + 1], *r2 = rows[i + 2], *r3 = rows[i + 3];
    const float a0 = scales[i], a1 = scales[i + 1], a2 = scales[i + 2], a3 = scales[i + 3];
    Lanes s0{}, s1{}, s2{}, s3{};
    std::size_t d = 0;
    for (; d + kDotLanes <= d_in; d += kDotLanes) {
      const Lanes w = load(direction + d), v0 = load(r0 + d), v1 = load(r1 + d), v2 = load(r2 + d),
                  v3 = load(r3 + d);
      s0 += v0 * w;
      s1 += v1 * w;
      s2 += v2 * w;
      s3 += v3 * w;
      store((((load(y + d) + a0 * v0) + a1 * v1) + a2 * v2) + a3 * v3, y + d);
    }
    for (std::size_t l = 0; d < d_in; ++d, ++l) {
      s0[l] += r0[d] * direction[d];
      s1[l] += r1[d] * direction[d];
      s2[l] += r2[d] * direction[d];
      s3[l] += r3[d] * direction[d];
      y[d] = (((y[d] + a0 * r0[d]) + a1 * r1[d]) + a2 * r2[d]) + a3 * r3[d];
    }
    dots[i] = add_lanes(s0);
    dots[i + 1] = add_lanes(s1);
    dots[i + 2] = add_lanes(s2);
    dots[i + 3] = add_lanes(s3);
  }
  for (; i < count; ++i) {
    const float* r = rows[i];
    const float a = scales[i];
    Lanes s{};
    std::size_t d = 0;
    for (; d + kDotLanes <= d_in; d += kDotLanes) {
      const Lanes v = load(r + d);
      s += v * load(direction + d);
      store(load(y + d) + a * v, y + d);
    }
    for (std::size_t l = 0; d < d_in; ++d, ++l) {
      s[l] += r[d] * direction[d];
      y[d] += a * r[d];
    }
    dots[i] = add_lanes(s);
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
