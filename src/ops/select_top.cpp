#include "refract/ops/select_top.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "refract/ops/row_kernels.hpp"

namespace refract {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

// A number below the k-th largest value; -infinity when there are too few values to tell.
float bound_from_groups(std::span<const float> values, std::size_t k, SelectScratch& scratch) {
  // About four groups for each value wanted: few to rank, and a bound close to the k-th value.
  const std::size_t lanes = kMaximaLanes, n = values.size();
  const std::size_t depth = std::max<std::size_t>(1, n / (4 * lanes * ((k + lanes - 1) / lanes)));
  const std::size_t blocks = n / (depth * lanes), groups = blocks * lanes;
  if (groups < k) return kLowest;
  scratch.ranked.resize(groups);
  group_maxima(values.data(), blocks, depth, scratch.ranked.data());
  const auto kth = scratch.ranked.begin() + static_cast<std::ptrdiff_t>(k - 1);
  std::nth_element(scratch.ranked.begin(), kth, scratch.ranked.end(), std::greater<>());
  return std::nextafter(*kth, kLowest);
}

// Keeps the k best of the ascending candidates, in order; returns the k-th largest value.
float keep_best(std::span<const float> values, std::size_t k, SelectScratch& scratch,
                std::size_t count, std::uint32_t* indices) {
  scratch.ranked.resize(count);
  for (std::size_t i = 0; i < count; ++i) scratch.ranked[i] = values[scratch.candidates[i]];
  const auto kth = scratch.ranked.begin() + static_cast<std::ptrdiff_t>(k - 1);
  std::nth_element(scratch.ranked.begin(), kth, scratch.ranked.end(), std::greater<>());
  const float least = *kth;
  std::size_t ties =
      k - static_cast<std::size_t>(std::count_if(scratch.ranked.begin(), kth,
                                                 [&](float value) { return value > least; }));
  std::size_t kept = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const float value = values[scratch.candidates[i]];
    if (!(value > least) && (value != least || ties == 0)) continue;
    if (value == least) --ties;
    indices[kept++] = scratch.candidates[i];
  }
  return least;
}

}  // namespace

std::size_t select_top(std::span<const float> values, std::size_t k, float floor,
                       SelectScratch& scratch, std::uint32_t* indices) {
  const std::size_t n = values.size();
  if (k == 0 || n == 0) return 0;
  scratch.candidates.resize(std::max(scratch.candidates.size(), n + 1));
  std::size_t count = 0;
  if (scratch.guess > floor)
    count = indices_above(values.data(), n, scratch.guess, scratch.candidates.data());
  if (count < k) {
    if (scratch.guess > floor) scratch.margin *= 0.95F;
    const float bound = std::max(floor, bound_from_groups(values, k, scratch));
    count = indices_above(values.data(), n, bound, scratch.candidates.data());
  } else if (count > 2 * k) {
    scratch.margin = std::min(0.99F, scratch.margin * 1.01F);
  }
  if (count <= k) {
    std::copy_n(scratch.candidates.begin(), count, indices);
    return count;
  }
  const float least = keep_best(values, k, scratch, count, indices);
  scratch.guess = least > 0 ? least * scratch.margin : 0;
  return k;
}

}  // namespace refract
