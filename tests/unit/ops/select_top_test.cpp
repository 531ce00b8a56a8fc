#include "refract/ops/select_top.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "refract/base/random.hpp"

namespace refract {
namespace {

std::vector<std::uint32_t> naive_top(const std::vector<float>& values, std::size_t k, float floor) {
  std::vector<std::uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(),
                   [&](auto a, auto b) { return values[a] > values[b]; });
  order.resize(std::min(k, order.size()));
  std::erase_if(order, [&](auto i) { return !(values[i] > floor); });
  std::sort(order.begin(), order.end());
  return order;
}

std::vector<std::uint32_t> select(const std::vector<float>& values, std::size_t k, float floor) {
  SelectScratch scratch;
  std::vector<std::uint32_t> indices(k);
  indices.resize(select_top(values, k, floor, scratch, indices.data()));
  return indices;
}

TEST(SelectTop, keeps_the_k_largest_in_feature_order) {
  EXPECT_EQ(select({0.5F, 3, -1, 2, 4}, 3, 0), (std::vector<std::uint32_t>{1, 3, 4}));
  EXPECT_EQ(select({0.5F, 0, -1}, 3, 0), (std::vector<std::uint32_t>{0}));
}

TEST(SelectTop, gives_ties_to_the_lower_index) {
  EXPECT_EQ(select({1, 2, 2, 2, 1}, 2, 0), (std::vector<std::uint32_t>{1, 2}));
  EXPECT_EQ(select(std::vector<float>(1000, 1.0F), 3, 0), (std::vector<std::uint32_t>{0, 1, 2}));
}

TEST(SelectTop, never_selects_nan) {
  std::vector<float> values(100, std::numeric_limits<float>::quiet_NaN());
  values[7] = 1;

  EXPECT_EQ(select(values, 4, 0), (std::vector<std::uint32_t>{7}));
}

TEST(SelectTop, agrees_with_a_full_sort_for_many_sizes) {
  std::size_t compared = 0;
  for (const std::size_t n : {1U, 15U, 16U, 17U, 100U, 512U, 1000U, 4096U})
    for (const std::size_t k : {1U, 2U, 16U, 31U, 64U, 500U})
      for (const float floor : {0.0F, -std::numeric_limits<float>::infinity()})
        for (std::uint64_t seed = 0; seed < 6; ++seed) {
          const CounterRng rng(Purpose::test, {n, k, seed});
          std::vector<float> values(n);
          // Coarse values on odd seeds: many ties.
          for (std::size_t i = 0; i < n; ++i)
            values[i] = seed % 2 != 0 ? static_cast<float>(rng.below(i, 9)) - 4
                                      : static_cast<float>(rng.normal(i));

          EXPECT_EQ(select(values, k, floor), naive_top(values, k, floor))
              << n << " " << k << " seed " << seed;
          ++compared;
        }
  EXPECT_GT(compared, 500U);
}

}  // namespace
}  // namespace refract
