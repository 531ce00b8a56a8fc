#pragma once
#include "refract/base/error.hpp"
#include "refract/ops/head_columns.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

// Asserts that the heads lie in the rows of x.
inline void expect_heads(TensorView<const float> x, HeadColumns heads) {
  REFRACT_ASSERT(heads.first + heads.heads * heads.width <= x.axis(1),
                 "{} heads of {} from column {} on are not in rows of {}", heads.heads, heads.width,
                 heads.first, x.axis(1));
}

}  // namespace refract
