// EncodeSelect: the CUDA body against the CPU body.
#include "refract/ops/encode_select.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "support/encode_rows.hpp"
#include "support/gpu.hpp"

namespace refract {
namespace {

using test::encode;
using test::Encoded;
using test::EncodeProblem;
using test::integer_problem;
using test::normal_problem;

using EncodeSelectOnGpu = test::OnGpu;

std::vector<std::uint32_t> every(std::size_t step, std::size_t d_sae) {
  std::vector<std::uint32_t> out;
  for (std::size_t f = 0; f < d_sae; f += step) out.push_back(static_cast<std::uint32_t>(f));
  return out;
}

TEST_F(EncodeSelectOnGpu, selects_what_the_cpu_selects_to_the_byte_where_sums_are_exact) {
  std::size_t compared = 0;
  for (const std::size_t d_sae : {1U, 31U, 32U, 33U, 255U, 257U, 1023U, 1025U})
    for (const std::size_t n : {1U, 5U, 19U})
      for (const std::size_t k : {1U, 32U, 700U}) {
        const std::size_t d_in = n == 5 ? 1 : 37;
        EncodeProblem problem = integer_problem(n, d_sae, d_in, n + k);
        problem.k = k;
        problem.dead = every(3, d_sae);
        problem.aux_k = k == 32 ? 31 : 0;

        compared += test::expect_same(encode(problem, gpu), encode(problem, {}));
      }
  EXPECT_GT(compared, 20'000U);
}

TEST_F(EncodeSelectOnGpu, takes_every_value_above_a_floor_that_the_cpu_takes) {
  std::size_t compared = 0;
  for (const std::size_t d_sae : {1U, 31U, 257U, 1025U})
    for (const std::size_t n : {1U, 33U})
      for (const float floor : {-1.0F, 0.0F, 4.0F, 7.0F}) {
        EncodeProblem problem = integer_problem(n, d_sae, 17, n);
        problem.share = 0.75F;
        if (floor >= 0) problem.floor.assign(d_sae, floor);
        if (floor == 7)
          for (std::size_t f = 0; f < d_sae; f += 2) problem.floor[f] = -3.0F;

        compared += test::expect_same(encode(problem, gpu), encode(problem, {}));
      }
  EXPECT_GT(compared, 30'000U);
}

TEST_F(EncodeSelectOnGpu, takes_the_largest_by_magnitude_with_their_sign) {
  std::size_t compared = 0;
  for (const std::size_t d_sae : {1U, 33U, 257U, 1025U})
    for (const std::size_t k : {1U, 32U, 700U}) {
      EncodeProblem problem = integer_problem(19, d_sae, 37, k);
      problem.k = k;
      problem.by_magnitude = true;

      const Encoded found = encode(problem, gpu);

      compared += test::expect_same(found, encode(problem, {}));
    }
  EXPECT_GT(compared, 10'000U);
}

TEST_F(EncodeSelectOnGpu, takes_what_lies_above_a_bound_below_zero) {
  std::size_t compared = 0;
  for (const bool same : {false, true}) {
    EncodeProblem problem = integer_problem(33, 257, 17, 4);
    problem.floor.assign(257, 2.0F);
    for (std::size_t f = 0; f < 257 && !same; f += 3) problem.floor[f] = 1.0F;
    problem.offset = -4.5F;
    problem.least = -std::numeric_limits<float>::infinity();
    const Encoded found = encode(problem, gpu);

    compared += test::expect_same(found, encode(problem, {}));
    float lowest = 0;
    for (const auto& row : found.rows)
      for (const auto& [feature, value] : row) lowest = std::min(lowest, value);
    EXPECT_LT(lowest, -1);
    EXPECT_GT(lowest, -4.5F);
  }
  EXPECT_GT(compared, 5000U);
}

TEST_F(EncodeSelectOnGpu, gives_excluded_rows_no_entries) {
  for (const std::size_t k : {0U, 8U}) {
    EncodeProblem problem = integer_problem(67, 96, 16, 3);
    problem.k = k;
    problem.dead = every(2, 96);
    problem.aux_k = 4;
    problem.included.assign(67, 1);
    for (std::size_t row = 0; row < 67; row += 3) problem.included[row] = 0;

    const Encoded found = encode(problem, gpu);

    EXPECT_GT(test::expect_same(found, encode(problem, {})), 44U * 8U);
    EXPECT_TRUE(found.rows[66].empty());
    EXPECT_TRUE(found.aux[66].empty());
  }
}

TEST_F(EncodeSelectOnGpu, takes_more_rows_than_one_panel_holds) {
  for (const std::size_t k : {0U, 8U}) {
    EncodeProblem problem = integer_problem(512 * 2 + 3, 96, 16, 1);
    problem.k = k;
    problem.included.assign(512 * 2 + 3, 1);
    problem.included[600] = 0;

    EXPECT_GT(test::expect_same(encode(problem, gpu), encode(problem, {})), 8000U);
  }
}

TEST_F(EncodeSelectOnGpu, takes_the_largest_dead_features_of_any_sign) {
  std::size_t compared = 0;
  for (const std::size_t dead : {0U, 1U, 31U, 33U, 500U, 1025U}) {
    EncodeProblem problem = integer_problem(9, 1025, 16, dead);
    problem.k = 4;
    problem.aux_k = 33;
    problem.dead = every(1, dead);
    // No feature fires: only of any sign are there enough.
    for (std::size_t f = 0; f < 1025; ++f) problem.b_enc.data()[f] -= f % 2 == 0 ? 200.0F : 0.0F;

    compared += test::expect_same(encode(problem, gpu), encode(problem, {}));
  }
  EXPECT_GT(compared, 9U * 33U * 3U);
}

TEST_F(EncodeSelectOnGpu, agrees_with_the_cpu_within_the_rounding_of_a_sum) {
  EncodeProblem problem = normal_problem(19, 1501, 771, 1);
  problem.k = 32;
  problem.aux_k = 40;
  problem.dead = every(5, 1501);

  EXPECT_EQ(test::expect_right(encode(problem, gpu), problem), 19U * (32 + 40));
  EXPECT_EQ(test::expect_right(encode(problem, {}), problem), 19U * (32 + 40));
}

TEST_F(EncodeSelectOnGpu, never_selects_nan_or_what_is_not_positive) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(),
                  kInfinity = std::numeric_limits<float>::infinity();
  for (const std::size_t k : {0U, 4U}) {
    EncodeProblem problem = integer_problem(3, 40, 8, 1);
    problem.k = k;
    problem.aux_k = 5;
    problem.dead = {3, 9, 12, 20};
    for (std::size_t f = 0; f < 40; ++f) problem.b_enc.data()[f] = f == 7 ? 1000.0F : -1000.0F;
    problem.b_enc.data()[9] = kNan;
    problem.b_enc.data()[20] = -kInfinity;

    const Encoded found = encode(problem, gpu);

    for (std::size_t row = 0; row < 3; ++row) {
      ASSERT_EQ(found.rows[row].size(), 1U);
      EXPECT_EQ(found.rows[row][0].first, 7U);
      ASSERT_EQ(found.aux[row].size(), 2U);
      EXPECT_EQ(found.aux[row][0].first, 3U);
      EXPECT_EQ(found.aux[row][1].first, 12U);
    }
    test::expect_same(found, encode(problem, {}));
  }
}

TEST_F(EncodeSelectOnGpu, does_nothing_where_the_flag_is_set_and_the_same_where_it_is_not) {
  std::size_t compared = 0;
  for (const std::size_t d_sae : {31U, 65U, 200U})
    for (const std::size_t n : {1U, 33U, 70U}) {
      EncodeProblem problem = integer_problem(n, d_sae, d_sae == 65 ? 1 : 37, n);
      for (const std::size_t k : {0U, 3U}) {
        problem.k = k;
        problem.unless = 1;
        const Encoded nothing = encode(problem, gpu);
        EXPECT_EQ(nothing.used, 777U);
        for (const test::EntryRow& row : nothing.rows) EXPECT_TRUE(row.empty());

        problem.unless = 0;
        compared += test::expect_same(encode(problem, gpu), encode(problem, {}));
      }
    }
  EXPECT_GT(compared, 10'000U);
}

TEST_F(EncodeSelectOnGpu, multiplies_under_a_flag_within_the_rounding_of_a_sum) {
  EncodeProblem problem = normal_problem(35, 130, 301, 1);
  problem.k = 16;
  problem.unless = 0;

  EXPECT_EQ(test::expect_right(encode(problem, gpu), problem), 35U * 16U);
}

TEST_F(EncodeSelectOnGpu, gives_a_row_the_same_bytes_whatever_rows_are_around_it) {
  EncodeProblem problem = normal_problem(129, 1000, 384, 1);
  problem.k = 16;
  const Encoded all = encode(problem, gpu);

  for (const std::size_t row : {0U, 1U, 77U, 128U}) {
    EncodeProblem one = normal_problem(129, 1000, 384, 1);
    one.k = 16;
    Tensor<float> x({1, 384});
    std::copy_n(one.x.row(row).data(), 384, x.data());
    one.x = std::move(x);
    EXPECT_EQ(encode(one, gpu).rows[0], all.rows[row]) << "row " << row;
  }
}

}  // namespace
}  // namespace refract
