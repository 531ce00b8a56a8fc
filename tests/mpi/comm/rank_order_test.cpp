// The promise of the MPI body: sums are made in the order of the ranks, whatever the message size.
// A plain loop over the ranks gives the same bytes; on three ranks and more no other order would.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <type_traits>
#include <vector>

#include "comm/mpi_exchange.hpp"
#include "refract/base/dtype.hpp"
#include "refract/comm/exchange.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::world;

std::size_t ranks() { return static_cast<std::size_t>(world().size()); }
std::size_t me() { return static_cast<std::size_t>(world().rank()); }

// Of very different sizes, so that the order of additions shows.
template <typename T>
T real(std::size_t rank, std::size_t i) {
  const std::uint64_t mixed = (rank * 7'919 + i + 1) * 0x9E37'79B9'7F4A'7C15U;
  const double size = std::ldexp(1.0 + static_cast<double>(mixed >> 12) * 0x1p-52,
                                 static_cast<int>((mixed >> 3) % 12));
  return static_cast<T>((mixed & 1) != 0 ? -size : size);
}

template <typename T>
std::vector<T> reals_of(std::size_t rank, std::size_t size) {
  std::vector<T> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = real<T>(rank, i);
  return values;
}

template <typename T>
T rounded(T value, Wire wire) {
  if constexpr (std::is_same_v<T, float>)
    if (wire == Wire::bf16 && ranks() > 1) return to_float(to_bf16(value));
  return value;
}

template <typename T>
std::vector<T> plain_sum(const std::vector<std::size_t>& order, std::size_t size, Wire wire) {
  std::vector<T> sums(size);
  for (std::size_t i = 0; i < size; ++i) {
    sums[i] = rounded(real<T>(order[0], i), wire);
    for (std::size_t r = 1; r < order.size(); ++r) sums[i] += rounded(real<T>(order[r], i), wire);
  }
  return sums;
}
std::vector<std::size_t> rank_order() {
  std::vector<std::size_t> order(ranks());
  std::iota(order.begin(), order.end(), std::size_t{0});
  return order;
}

template <typename T>
bool same_bytes(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

template <typename T>
TensorView<T> view(std::vector<T>& values) {
  return {values.data(), Shape{values.size()}};
}

std::unique_ptr<Exchange> exchange(Wire wire, std::size_t bucket_bytes) {
  if (!world().native_mpi()) return make_exchange(world(), {}, wire);
  return std::make_unique<Exchange>(make_mpi_exchange(world().native_mpi(), wire, bucket_bytes));
}

constexpr std::size_t kBuckets[] = {1, 200, 65'536, std::size_t{4} << 20};

template <typename T>
void expect_all_reduce(Wire wire) {
  Stream stream;
  std::size_t compared = 0;
  for (const std::size_t bucket : kBuckets)
    for (const std::size_t size : {1U, 7U, 333U, 1024U, 70'001U}) {
      if (bucket == 1 && size > 1000) continue;  // a message for each element
      std::vector<T> values = reals_of<T>(me(), size);

      exchange(wire, bucket)->all_reduce_sum(view(values), stream);

      std::vector<T> expected = plain_sum<T>(rank_order(), size, wire);
      for (T& value : expected) value = rounded(value, wire);
      EXPECT_TRUE(same_bytes(values, expected)) << size << " in buckets of " << bucket;
      compared += size;
    }
  EXPECT_GT(compared, 200'000U);
}

TEST(RankOrder, is_that_of_an_all_reduce_of_floats) { expect_all_reduce<float>(Wire::fp32); }
TEST(RankOrder, is_that_of_an_all_reduce_of_doubles) { expect_all_reduce<double>(Wire::fp32); }
TEST(RankOrder, is_that_of_an_all_reduce_in_bf16) { expect_all_reduce<float>(Wire::bf16); }

TEST(RankOrder, is_that_of_a_reduce_scatter) {
  Stream stream;
  std::size_t compared = 0;
  for (const Wire wire : {Wire::fp32, Wire::bf16})
    for (const std::size_t bucket : kBuckets)
      for (const std::size_t each : {1U, 30U, 9'000U}) {
        if (bucket == 1 && each > 1000) continue;
        std::vector<std::size_t> counts;
        for (std::size_t r = 0; r < ranks(); ++r) counts.push_back(each * (r % 3) + r + 1);
        const std::size_t size = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
        std::vector<float> values = reals_of<float>(me(), size), mine(counts[me()]);

        exchange(wire, bucket)->reduce_scatter_sum(view(values), counts, view(mine), stream);

        const std::vector<float> sums = plain_sum<float>(rank_order(), size, wire);
        const auto first =
            sums.begin() + static_cast<std::ptrdiff_t>(std::accumulate(
                               counts.begin(), counts.begin() + static_cast<std::ptrdiff_t>(me()),
                               std::size_t{0}));
        const std::vector<float> expected(first, first + static_cast<std::ptrdiff_t>(mine.size()));
        EXPECT_TRUE(same_bytes(mine, expected)) << each << " in buckets of " << bucket;
        compared += mine.size();
      }
  EXPECT_GT(compared, 0U);
}

// Else the tests above would pass with any order. Two addends have one order.
TEST(RankOrder, shows_in_the_bytes_of_these_values) {
  std::vector<std::size_t> reversed = rank_order();
  std::ranges::reverse(reversed);

  EXPECT_EQ(same_bytes(plain_sum<float>(rank_order(), 333, Wire::fp32),
                       plain_sum<float>(reversed, 333, Wire::fp32)),
            ranks() < 3);
  EXPECT_EQ(same_bytes(plain_sum<double>(rank_order(), 333, Wire::fp32),
                       plain_sum<double>(reversed, 333, Wire::fp32)),
            ranks() < 3);
}

}  // namespace
}  // namespace refract
