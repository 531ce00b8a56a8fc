#pragma once
// The inner loops over one row, beside its products (tensor/dot.hpp). Elementwise loops round each
// element alone, so every instruction set gives the same bytes; clones only make them faster.
#include <cstddef>
#include <cstdint>

#include "refract/tensor/dot.hpp"

namespace refract {

// y[d] = ((y[d] + a0 x0[d]) + a1 x1[d]) ..., `count` rows of x at the given pointers, in order.
void add_scaled_rows(const float* const* rows, const float* scales, std::size_t count,
                     std::size_t d_in, float* y);
// The same in one pass with dots[j] = rows[j] . direction, 16 lanes added in a fixed tree. Both are
// read from the first-level cache once.
void add_scaled_rows_with_dots(const float* const* rows, const float* scales, std::size_t count,
                               const float* direction, std::size_t d_in, float* y, float* dots);
// maxima[b, l] = max over j < depth of values[(b * depth + j) * kMaximaLanes + l]; NaN is passed
// over.
inline constexpr std::size_t kMaximaLanes = 16;
void group_maxima(const float* values, std::size_t blocks, std::size_t depth, float* maxima);
// The indices of values greater than `bound`, ascending; room for n + 1. Returns how many.
std::size_t indices_above(const float* values, std::size_t n, float bound, std::uint32_t* indices);
void subtract(const float* a, const float* b, std::size_t n,
              float* out);  // out = a - b; out may be a or b
void scale(const float* a, float factor, std::size_t n,
           float* out);  // out = factor a; out may be a

}  // namespace refract
