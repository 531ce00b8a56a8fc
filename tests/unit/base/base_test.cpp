#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <set>

#include "refract/base/digest.hpp"
#include "refract/base/dtype.hpp"
#include "refract/base/error.hpp"
#include "refract/base/finite.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/random.hpp"

namespace refract {
namespace {

TEST(BFloat16, rounds_to_nearest_and_ties_to_even) {
  EXPECT_EQ(to_bf16(1.0F).bits, 0x3F80);
  EXPECT_EQ(to_bf16(1.00390625F).bits, 0x3F80);  // a tie: down to even
  EXPECT_EQ(to_bf16(1.01171875F).bits, 0x3F82);  // a tie: up to even
  EXPECT_TRUE(std::isnan(to_float(to_bf16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isinf(to_float(to_bf16(std::numeric_limits<float>::max()))));
}

TEST(Half, widens_normals_subnormals_and_infinity) {
  EXPECT_EQ(half_to_float(0x3C00), 1.0F);
  EXPECT_EQ(half_to_float(0xC000), -2.0F);
  EXPECT_EQ(half_to_float(0x0001), 0x1p-24F);
  EXPECT_TRUE(std::isinf(half_to_float(0x7C00)));
}

TEST(CounterRng, is_a_function_of_purpose_parts_and_index) {
  const CounterRng a(Purpose::test, {1, 2}), same(Purpose::test, {1, 2}),
      other(Purpose::test, {2, 1}), purpose(Purpose::bootstrap, {1, 2});

  EXPECT_EQ(a.bits(5), same.bits(5));
  EXPECT_NE(a.bits(5), a.bits(6));
  EXPECT_NE(a.bits(5), other.bits(5));
  EXPECT_NE(a.bits(5), purpose.bits(5));
}

TEST(CounterRng, draws_normals_of_mean_0_and_variance_1) {
  const CounterRng rng(Purpose::test, {7});
  double sum = 0, squares = 0;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const double value = rng.normal(static_cast<std::uint64_t>(i));
    sum += value;
    squares += value * value;
  }

  EXPECT_NEAR(sum / kDraws, 0, 0.03);
  EXPECT_NEAR(squares / kDraws, 1, 0.05);
}

TEST(Permutation, holds_every_number_once_and_puts_each_everywhere) {
  std::set<std::uint32_t> firsts;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const auto order = permutation(6, CounterRng(Purpose::test, {seed}));
    EXPECT_EQ(std::set<std::uint32_t>(order.begin(), order.end()).size(), 6u);
    firsts.insert(order.front());
  }

  EXPECT_EQ(firsts.size(), 6u);
}

TEST(Digest, matches_published_values) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(xxh3({}), 0x2D06800538D394C2u);
}

TEST(Digest, of_a_stream_is_that_of_its_bytes) {
  const std::string text = "the quick brown fox";
  Xxh3 stream;
  stream.add(std::as_bytes(std::span(text.data(), 4)));
  stream.add(std::as_bytes(std::span(text.data() + 4, text.size() - 4)));

  EXPECT_EQ(stream.value(), xxh3(std::as_bytes(std::span(text))));
}

TEST(ParallelFor, runs_each_item_once_and_carries_an_exception_out) {
  std::vector<std::atomic<int>> runs(1000);
  parallel_for(runs.size(), [&](std::size_t i) { ++runs[i]; });
  for (const auto& count : runs) EXPECT_EQ(count.load(), 1);

  EXPECT_THROW(parallel_for(10,
                            [](std::size_t i) {
                              if (i == 7) throw DataError("seven");
                            }),
               DataError);
}

TEST(FirstNotFinite, finds_the_first_of_many_wherever_it_stands) {
  std::vector<float> values(1'000'003, 0x1.fffffep127F);
  EXPECT_EQ(first_not_finite(values), values.size());
  EXPECT_EQ(first_not_finite(std::span<const float>()), 0u);
  for (const std::size_t at : {1'000'002u, 524'288u, 524'287u, 3u}) {
    values[at] = at % 2 == 0 ? -std::numeric_limits<float>::infinity() : -std::nanf("");
    EXPECT_EQ(first_not_finite(values), at);
  }
}

TEST(FirstNotFinite, of_bf16_agrees_with_its_rounding) {
  std::size_t compared = 0;
  for (std::uint32_t bits = 0x7F7F0000u; bits < 0x7F810000u; bits += 0x10u, ++compared) {
    const float value = -std::bit_cast<float>(bits);
    const bool finite = std::isfinite(to_float(to_bf16(value)));
    EXPECT_EQ(first_not_finite(std::span(&value, 1), DType::bf16), finite ? 1u : 0u) << bits;
  }
  EXPECT_EQ(compared, 0x2000u);
}

TEST(Human, prints_sizes_and_times) {
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_seconds(3905), "1 h 05 min");
  EXPECT_EQ(human_count(1'050'000), "1.05 M");
}

TEST(Errors, carry_their_exit_code) {
  EXPECT_EQ(static_cast<int>(ConfigError("x").code()), 2);
  EXPECT_EQ(static_cast<int>(DataError("x").code()), 3);
  EXPECT_EQ(static_cast<int>(StopRequested("x").code()), 85);
}

}  // namespace
}  // namespace refract
