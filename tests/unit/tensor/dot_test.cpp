#include "refract/tensor/dot.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "refract/base/random.hpp"

namespace refract {
namespace {

// Lengths around the number of lanes, and none.
constexpr std::size_t kLengths[] = {0, 1, 31, 32, 33, 64, 100, 4097};

std::vector<float> drawn(std::size_t n, std::uint64_t seed) {
  const CounterRng rng(Purpose::test, {seed});
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = static_cast<float>(rng.normal(i));
  return values;
}

TEST(Dot, is_the_sum_of_the_products) {
  for (const std::size_t n : kLengths) {
    const std::vector<float> a = drawn(n, 1), b = drawn(n, 2);
    double expected = 0, size = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const double product = static_cast<double>(a[i]) * static_cast<double>(b[i]);
      expected += product;
      size += std::abs(product);
    }

    EXPECT_NEAR(static_cast<double>(dot(a.data(), b.data(), n)), expected, 1e-6 * size) << n;
  }
}

TEST(Norm, is_the_root_of_the_sum_of_squares_in_fp64) {
  for (const std::size_t n : kLengths) {
    const std::vector<float> a = drawn(n, 3);
    double expected = 0;
    for (const float value : a) expected += static_cast<double>(value) * value;

    EXPECT_NEAR(squared_norm(a.data(), n), expected, 1e-13 * expected) << n;
    EXPECT_EQ(norm_of(a), std::sqrt(squared_norm(a.data(), n))) << n;
  }
}

TEST(Distance, is_that_of_the_differences) {
  for (const std::size_t n : kLengths) {
    const std::vector<float> a = drawn(n, 4), b = drawn(n, 5);
    double expected = 0;
    for (std::size_t i = 0; i < n; ++i)
      expected += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);

    EXPECT_NEAR(squared_distance(a.data(), b.data(), n), expected, 1e-13 * expected) << n;
    EXPECT_EQ(squared_distance(a.data(), a.data(), n), 0) << n;
  }
}

TEST(Norm, of_the_largest_values_does_not_overflow) {
  const std::vector<float> a(64, 3e38F);

  EXPECT_NEAR(norm_of(a), 8 * 3e38, 1e-6 * 3e38);
}

}  // namespace
}  // namespace refract
