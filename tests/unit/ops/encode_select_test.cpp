// EncodeSelect on the CPU, against a plain one. tests/gpu/ops checks the CUDA body with the same
// comparisons, which are here shown to notice what is wrong.
#include "refract/ops/encode_select.hpp"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <array>
#include <numeric>

#include "refract/base/error.hpp"
#include "support/encode_rows.hpp"

namespace refract {
namespace {

using test::encode;
using test::Encoded;
using test::EncodeProblem;
using test::EntryRow;

// Sums in descending d and one rounding for each product: another order than the packed kernel's.
std::vector<float> plain_pre(const EncodeProblem& p, std::size_t row) {
  std::vector<float> pre(p.d_sae());
  for (std::size_t f = 0; f < pre.size(); ++f) {
    for (std::size_t d = p.x.axis(1); d-- > 0;) pre[f] += p.x.row(row)[d] * p.W_enc.row(f)[d];
    pre[f] += p.b_enc.data()[f];
  }
  return pre;
}

EntryRow largest(const std::vector<float>& pre, std::vector<std::uint32_t> features,
                 std::size_t k) {
  std::stable_sort(features.begin(), features.end(),
                   [&](auto a, auto b) { return pre[a] > pre[b]; });
  features.resize(std::min(k, features.size()));
  std::sort(features.begin(), features.end());
  EntryRow out;
  for (const std::uint32_t f : features) out.emplace_back(f, pre[f]);
  return out;
}

Encoded plain(const EncodeProblem& p) {
  Encoded out;
  for (std::size_t row = 0; row < p.x.axis(0); ++row) {
    const bool excluded = !p.included.empty() && p.included[row] == 0;
    const std::vector<float> pre = plain_pre(p, row);
    std::vector<std::uint32_t> chosen = test::all_features(p);
    std::erase_if(chosen, [&](auto f) {
      const float floor = p.floor.empty() ? 0 : p.share * p.floor[f];
      return excluded || !(pre[f] > std::max(0.0F, p.k > 0 ? 0.0F : floor));
    });
    out.rows.push_back(largest(pre, chosen, p.k > 0 ? p.k : p.d_sae()));
    out.used += out.rows.back().size();
    if (p.aux_k > 0) out.aux.push_back(excluded ? EntryRow{} : largest(pre, p.dead, p.aux_k));
  }
  if (p.k > 0) out.used = 777;  // what encode() found there
  return out;
}

TEST(EncodeSelect, equals_the_plain_one_to_the_byte_where_sums_are_exact) {
  std::size_t compared = 0;
  for (const std::size_t d_sae : {1U, 33U, 1025U})
    for (const std::size_t k : {1U, 2U, 32U, 700U}) {
      EncodeProblem problem = test::integer_problem(67, d_sae, 37, k);
      problem.k = k;
      problem.aux_k = k == 32 ? 20 : 0;
      for (std::uint32_t f = 0; f < d_sae; f += 4) problem.dead.push_back(f);
      problem.included.assign(67, 1);
      problem.included[5] = problem.included[66] = 0;

      compared += test::expect_same(encode(problem, {}), plain(problem));
    }
  EXPECT_GT(compared, 10'000U);
}

TEST(EncodeSelect, takes_every_value_above_its_feature_s_floor) {
  std::size_t compared = 0;
  for (const std::size_t d_sae : {1U, 33U, 1025U})
    for (const bool same : {true, false}) {
      EncodeProblem problem = test::integer_problem(67, d_sae, 37, d_sae);
      problem.share = 0.5F;
      problem.floor.assign(d_sae, 9);
      for (std::size_t f = 0; !same && f < d_sae; f += 2) problem.floor[f] = -1;

      compared += test::expect_same(encode(problem, {}), plain(problem));
    }
  EXPECT_GT(compared, 10'000U);
}

TEST(EncodeSelect, agrees_with_exact_values_within_the_rounding_of_a_sum) {
  EncodeProblem problem = test::normal_problem(35, 1001, 771, 1);
  problem.k = 32;

  EXPECT_EQ(test::expect_right(encode(problem, {}), problem), 35U * 32U);
  EXPECT_EQ(test::expect_right(plain(problem), problem), 35U * 32U);
}

TEST(EncodeSelect, does_nothing_where_the_flag_is_set) {
  EncodeProblem problem = test::integer_problem(9, 33, 5, 1);
  problem.unless = 1;

  const Encoded found = encode(problem, {});

  EXPECT_EQ(found.used, 777U);
  EXPECT_EQ(found.rows, std::vector<EntryRow>(9));
}

TEST(EncodeSelect, is_checked_by_comparisons_that_notice_a_wrong_value_and_a_missing_feature) {
  EncodeProblem problem = test::normal_problem(1, 101, 64, 2);
  problem.k = 8;
  const EntryRow right = encode(problem, {}).rows[0];
  ASSERT_EQ(right.size(), 8U);
  EntryRow wrong_value = right, missing = right;
  wrong_value[3].second *= 1.0005F;  // what TF32 would do: 11 bits of significand
  missing.erase(missing.begin() + 2);

  testing::TestPartResultArray failures;
  std::array<int, 3> failed{};
  const std::array<const EntryRow*, 3> candidates{&right, &wrong_value, &missing};
  for (std::size_t i = 0; i < 3; ++i) {
    const int before = failures.size();
    const testing::ScopedFakeTestPartResultReporter reporter(&failures);
    test::expect_right_row(*candidates[i], problem, 0, 8, 0, test::all_features(problem));
    failed[i] = failures.size() - before;
  }

  EXPECT_EQ(failed[0], 0);
  EXPECT_EQ(failed[1], 1);
  EXPECT_GE(failed[2], 1);
}

TEST(EncodeSelect, refuses_shapes_that_do_not_fit) {
  const EncodeProblem problem = test::integer_problem(3, 8, 4, 1);
  Stream stream;
  EncodeSelect encoder(8, 5);

  EXPECT_THROW(encoder.pack(problem.W_enc.cview(), problem.b_enc.cview(), stream), SystemError);
  EncodeRequest request{};
  request.x = problem.x.cview();
  EXPECT_THROW(encoder.run(request, stream), SystemError);
}

}  // namespace
}  // namespace refract
