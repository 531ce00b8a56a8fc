// Transfers of more than 2^31 bytes and elements between two ranks, through MPI as it is used: what
// pieces_test.cpp shows of small pieces, in the size that needs them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "refract/comm/exchange.hpp"
#include "support/memory.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::byte_at;
using test::world;

constexpr std::uint64_t kMore = (std::uint64_t{1} << 31) + 12'345;  // than an int can count
constexpr std::uint64_t kNeeded_bytes = std::uint64_t{9} << 30;     // two ranks: twice two buffers

class Large : public testing::Test {
 protected:
  void SetUp() override {
    std::uint64_t available = test::available_memory_bytes();
    world().broadcast(std::span<std::uint64_t>(&available, 1), 0);
    if (available < kNeeded_bytes)
      GTEST_SKIP() << "needs " << (kNeeded_bytes >> 30) << " GiB of memory, available are "
                   << (available >> 30);
  }
};

std::vector<std::uint8_t> numbered(std::uint64_t first, std::uint64_t count) {
  std::vector<std::uint8_t> bytes(count);
  for (std::uint64_t i = 0; i < count; ++i) bytes[i] = byte_at(first + i);
  return bytes;
}

void expect_numbered(const std::vector<std::uint8_t>& bytes, std::uint64_t count) {
  ASSERT_EQ(bytes.size(), count);
  std::uint64_t wrong = 0;
  for (std::uint64_t i = 0; i < count; ++i) wrong += bytes[i] != byte_at(i) ? 1 : 0;
  EXPECT_EQ(wrong, 0u);
}

TEST_F(Large, broadcast_arrives_whole) {
  std::vector<std::uint8_t> bytes =
      world().rank() == 1 ? numbered(0, kMore) : std::vector<std::uint8_t>(kMore);

  world().broadcast(std::span<std::uint8_t>(bytes), 1);

  expect_numbered(bytes, kMore);
}

TEST_F(Large, gathers_keep_every_byte) {
  constexpr std::uint64_t kFirst = kMore / 2 + 10;  // of rank 0; the rest is rank 1's
  const std::vector<std::uint8_t> mine =
      world().rank() == 0 ? numbered(0, kFirst) : numbered(kFirst, kMore - kFirst);

  expect_numbered(world().all_gather(std::span<const std::uint8_t>(mine)), kMore);
  for (const int root : {0, 1})
    expect_numbered(world().gather(std::span<const std::uint8_t>(mine), root),
                    root == world().rank() ? kMore : 0);
}

TEST_F(Large, sums_of_more_bytes_than_an_int_counts_are_right) {
  constexpr std::uint64_t kCounts = kMore / sizeof(std::uint64_t) + 3;
  std::vector<std::uint64_t> counts(kCounts);
  for (std::uint64_t i = 0; i < kCounts; ++i)
    counts[i] = i * static_cast<std::uint64_t>(1 + world().rank());

  world().all_reduce_sum(std::span<std::uint64_t>(counts));

  std::uint64_t wrong = 0;
  for (std::uint64_t i = 0; i < kCounts; ++i) wrong += counts[i] != 3 * i ? 1 : 0;
  EXPECT_EQ(wrong, 0u);
}

// Whole numbers below 2^24: their fp32 sums are exact.
TEST_F(Large, exchanges_of_more_bytes_than_an_int_counts_are_right) {
  constexpr std::uint64_t kFloats = kMore / sizeof(float) + 3;
  const auto value = [](std::uint64_t i) { return static_cast<float>(byte_at(i)); };
  std::vector<float> all(kFloats);
  for (std::uint64_t i = 0; i < kFloats; ++i) all[i] = value(i);
  const std::vector<std::size_t> counts{kFloats / 2 + 1, kFloats - kFloats / 2 - 1};
  const std::unique_ptr<Exchange> exchange = make_exchange(world());
  Stream stream;
  const auto wrong = [&](const auto& values, std::uint64_t first, float times) {
    std::uint64_t count = 0;
    for (std::uint64_t i = 0; i < values.size(); ++i)
      count += values[i] != times * value(first + i) ? 1 : 0;
    return count;
  };

  const TensorView<float> whole(all.data(), Shape{all.size()});
  exchange->all_reduce_sum(whole, stream);
  EXPECT_EQ(wrong(all, 0, 2), 0u);

  const std::uint64_t first = world().rank() == 0 ? 0 : counts[0];
  std::vector<float> mine(counts[static_cast<std::size_t>(world().rank())]);
  exchange->reduce_scatter_sum(whole, counts, TensorView<float>(mine.data(), Shape{mine.size()}),
                               stream);
  EXPECT_EQ(wrong(mine, first, 4), 0u);

  std::ranges::fill(all, -1.0F);
  std::ranges::copy(mine, all.begin() + static_cast<std::ptrdiff_t>(first));
  exchange->all_gather(whole, counts, stream);
  EXPECT_EQ(wrong(all, 0, 4), 0u);
}

TEST_F(Large, gathers_of_more_elements_than_an_int_counts_are_right) {
  const std::vector<std::size_t> counts{kMore / 2 + 1, kMore - kMore / 2 - 1};
  std::vector<std::uint8_t> all(kMore);
  const std::size_t first = world().rank() == 0 ? 0 : counts[0];
  for (std::size_t i = 0; i < counts[static_cast<std::size_t>(world().rank())]; ++i)
    all[first + i] = byte_at(first + i);
  Stream stream;

  make_exchange(world())->all_gather(TensorView<std::uint8_t>(all.data(), Shape{all.size()}),
                                     counts, stream);

  expect_numbered(all, kMore);
}

}  // namespace
}  // namespace refract
