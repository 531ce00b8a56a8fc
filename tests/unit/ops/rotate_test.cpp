#include "refract/ops/rotate.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "support/bytes_of_rows.hpp"
#include "support/random_tensor.hpp"

namespace refract {
namespace {

using test::random_tensor, test::rows_of;

std::vector<double> frequencies(std::size_t half, double base = 10000) {
  std::vector<double> out(half);
  for (std::size_t i = 0; i < half; ++i)
    out[i] = std::pow(base, -static_cast<double>(i) / static_cast<double>(half));
  return out;
}

std::vector<std::uint32_t> counted(std::size_t rows, std::uint32_t first = 0) {
  std::vector<std::uint32_t> positions(rows);
  std::iota(positions.begin(), positions.end(), first);
  return positions;
}

TEST(Rotate, turns_pairs_that_are_half_apart_by_hand) {
  Stream stream;
  const std::vector<double> quarter_and_half_turn{std::acos(-1.0) / 2, std::acos(-1.0)};
  const RotaryTables tables(quarter_and_half_turn, 1, 2, AngleRounding::none);
  Tensor<float> x({2, 4});
  for (std::size_t i = 0; i < 2; ++i) std::iota(x.row(i).begin(), x.row(i).end(), 1.0F);

  rotate(x.view(), counted(2), {.first = 0, .heads = 1, .width = 4}, tables, stream);

  const std::vector<float> turned{-3, -2, 1, -4};
  for (std::size_t c = 0; c < 4; ++c) {
    EXPECT_EQ(x.row(0)[c], static_cast<float>(c + 1));
    EXPECT_NEAR(x.row(1)[c], turned[c], 1e-6F);
  }
}

TEST(Rotate, equals_fp64_in_its_heads_and_leaves_all_else) {
  Stream stream;
  const std::size_t n = 70, first = 3, heads = 3, row_width = 64;
  for (const std::size_t half : {1, 4, 5, 8})
    for (const std::size_t width : {2 * half, 2 * half + 1, std::size_t{19}}) {
      const RotaryTables tables(frequencies(half), 1.25, 500, AngleRounding::none);
      auto positions = counted(n, 400);
      std::ranges::reverse(positions);
      const auto x = random_tensor({n, row_width}, 1);
      auto y = rows_of(x, 0, n);

      rotate(y.view(), positions, {.first = first, .heads = heads, .width = width}, tables, stream);

      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t c = 0; c < row_width; ++c) {
          const std::size_t d = (c - first) % width;
          if (c < first || c >= first + heads * width || d >= 2 * half) {
            ASSERT_EQ(y.row(i)[c], x.row(i)[c]) << "column " << c;
            continue;
          }
          const double angle = positions[i] * frequencies(half)[d % half];
          const std::size_t partner = d < half ? c + half : c - half;
          const double expected = 1.25 * (static_cast<double>(x.row(i)[c]) * std::cos(angle) +
                                          static_cast<double>(x.row(i)[partner]) * std::sin(angle) *
                                              (d < half ? -1 : 1));
          ASSERT_NEAR(static_cast<double>(y.row(i)[c]), expected, 1e-6) << "column " << c;
        }
    }
}

TEST(Rotate, makes_products_depend_on_the_distance_alone) {
  Stream stream;
  const RotaryTables tables(frequencies(16), 1, 4000, AngleRounding::none);
  const auto q = random_tensor({1, 32}, 1), k = random_tensor({1, 32}, 2);
  const auto product = [&](std::uint32_t of_q, std::uint32_t of_k) {
    auto turned_q = rows_of(q, 0, 1), turned_k = rows_of(k, 0, 1);
    rotate(turned_q.view(), counted(1, of_q), {.first = 0, .heads = 1, .width = 32}, tables,
           stream);
    rotate(turned_k.view(), counted(1, of_k), {.first = 0, .heads = 1, .width = 32}, tables,
           stream);
    return std::inner_product(turned_q.data(), turned_q.data() + 32, turned_k.data(), 0.0);
  };

  for (const std::uint32_t shift : {1U, 100U, 3900U})
    EXPECT_NEAR(product(70, 7), product(70 + shift, 7 + shift), 2e-5);
}

TEST(Rotate, gives_a_row_the_same_bytes_beside_any_others) {
  Stream stream;
  const RotaryTables tables(frequencies(6), 1, 203, AngleRounding::fp32);
  const auto x = random_tensor({203, 60}, 1);

  test::expect_bytes_of_rows(203, [&](std::size_t first, std::size_t count) {
    auto y = rows_of(x, first, count);
    rotate(y.view(), counted(count, static_cast<std::uint32_t>(first)),
           {.first = 2, .heads = 4, .width = 14}, tables, stream);
    return y;
  });
}

TEST(RotaryTables, round_once_when_the_angle_is_not_rounded) {
  const auto f = frequencies(32, 5e5);
  const RotaryTables tables(f, 1.5, 9000, AngleRounding::none);

  for (std::size_t p = 0; p < 9000; p += 7)
    for (std::size_t i = 0; i < 32; ++i) {
      const double angle = static_cast<double>(p) * f[i];
      ASSERT_EQ(tables.cos().row(p)[i], static_cast<float>(1.5 * std::cos(angle)));
      ASSERT_EQ(tables.sin().row(p)[i], static_cast<float>(1.5 * std::sin(angle)));
    }
}

// The steps of transformers: outer product, cos and the factor in fp32.
TEST(RotaryTables, are_two_last_bits_off_the_steps_in_fp32_with_rounded_angles) {
  const auto f = frequencies(32, 5e5);
  const float factor = 1.25F;
  const RotaryTables tables(f, 1.25, 9000, AngleRounding::fp32);
  const RotaryTables exact(f, 1.25, 9000, AngleRounding::none);

  float worst = 0;
  for (std::size_t p = 0; p < 9000; p += 7)
    for (std::size_t i = 0; i < 32; ++i) {
      const float angle = static_cast<float>(p) * static_cast<float>(f[i]);
      ASSERT_NEAR(tables.cos().row(p)[i], std::cos(angle) * factor, factor * 0x1p-22F);
      ASSERT_NEAR(tables.sin().row(p)[i], std::sin(angle) * factor, factor * 0x1p-22F);
      const float off = std::abs(tables.cos().row(p)[i] - exact.cos().row(p)[i]);
      worst = std::max(worst, off);
      ASSERT_LE(off,
                factor * (static_cast<float>(p) * static_cast<float>(f[i]) * 0x1p-23F + 0x1p-23F));
    }
  EXPECT_GT(worst, 1e-4F);  // at these positions the choice is seen
}

}  // namespace
}  // namespace refract
