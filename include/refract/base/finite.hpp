#pragma once
// Values that are numbers. Infinity and NaN are said once, where they arise; these are the looks
// that cost next to nothing (vectorised, and over threads where there is much).
#include <cstddef>
#include <span>

#include "refract/base/dtype.hpp"

namespace refract {

// The index of the first value that is not finite once it is stored as `stored` (f32 or bf16, whose
// largest number is a little smaller); values.size() when all are.
[[nodiscard]] std::size_t first_not_finite(std::span<const float> values,
                                           DType stored = DType::f32);

}  // namespace refract
