#include "refract/base/number_set.hpp"

#include <gtest/gtest.h>

#include <set>

#include "refract/base/random.hpp"

namespace refract {
namespace {

TEST(NumberSet, is_a_set_of_numbers) {
  const CounterRng rng(Purpose::test, {11});
  NumberSet numbers;
  std::set<std::uint64_t> expected;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const std::uint64_t number = rng.below(2 * i, 60);
    if (rng.below(2 * i + 1, 3) == 0) {
      numbers.erase(number);
      expected.erase(number);
    } else {
      numbers.insert(number);
      expected.insert(number);
    }

    ASSERT_EQ(numbers.size(), expected.size());
    ASSERT_EQ(numbers.empty(), expected.empty());
    ASSERT_EQ(numbers.contains(number), expected.contains(number));
    ASSERT_EQ(numbers.from(0), std::vector<std::uint64_t>(expected.begin(), expected.end()));
    ASSERT_EQ(numbers.from(number),
              std::vector<std::uint64_t>(expected.lower_bound(number), expected.end()));
    std::uint64_t missing = number;
    while (expected.contains(missing)) ++missing;
    ASSERT_EQ(numbers.first_missing(number), missing);
    if (expected.empty()) continue;
    ASSERT_EQ(numbers.front(), *expected.begin());
    ASSERT_EQ(numbers.back(), *expected.rbegin());
  }
}

}  // namespace
}  // namespace refract
