#pragma once
// Sums over one row of logits, in fixed lanes of fp64.
#include <array>
#include <cstddef>

#include "ops/fast_exp.hpp"

namespace refract {

constexpr std::size_t kSumLanes = 8;

// sum over i < size of term(i), each lane added in ascending i, the lanes in their order.
template <typename Term>
[[gnu::always_inline]] inline double sum_in_lanes(std::size_t size, Term&& term) {
  std::array<double, kSumLanes> lanes{};
  std::size_t i = 0;
  for (; i + kSumLanes <= size; i += kSumLanes) {
    for (std::size_t j = 0; j < kSumLanes; ++j) lanes[j] += term(i + j);
  }
  for (; i < size; ++i) lanes[i % kSumLanes] += term(i);
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

}  // namespace refract
