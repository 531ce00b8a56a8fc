#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "refract/base/parallel.hpp"
#include "support/one_rank_step.hpp"
#include "unit/sae/problem.hpp"

namespace refract {
namespace {

using namespace testing_support;

template <typename T>
bool same_bytes(std::span<const T> a, std::span<const T> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

class ThreadCount {
 public:
  explicit ThreadCount(int threads) : before_(thread_count()) { set_thread_count(threads); }
  ~ThreadCount() { set_thread_count(before_); }

 private:
  int before_;
};

TEST(TopK, keeps_the_k_largest_and_zeroes_the_rest) {
  SaeConfig config{.name = "hand", .hooks = {"h"}, .d_sae = 4, .k = 2};
  const auto variant = make_variant(config, 2, 100);
  SaeParameters p = make_parameters(4, 2, false);
  const float W_enc[4][2] = {{1, 0}, {0, 1}, {1, 1}, {-1, 0}};
  std::memcpy(p.W_enc.data(), W_enc, sizeof W_enc);
  p.b_dec.data()[0] = 1;
  p.b_enc.data()[1] = 0.5F;
  const std::vector<float> x{3, 1, 0, -5};  // centred: (2, 1), (-1, -5)
  SparseActs acts;

  variant->encode(p, TensorView<const float>(x.data(), Shape{2, 2}), 0, acts);

  EXPECT_EQ(acts.row_starts,
            (std::vector<std::uint64_t>{0, 2, 3}));  // second row: one positive value only
  EXPECT_EQ(acts.features, (std::vector<std::uint32_t>{0, 2, 3}));
  EXPECT_EQ(acts.values, (std::vector<float>{2, 3, 1}));
}

TEST(TopK, decodes_in_feature_order_and_adds_b_dec) {
  SaeParameters p = make_parameters(2, 2, false);
  const float W_dec[2][2] = {{1, 0}, {0, 1}};
  std::memcpy(p.W_dec.data(), W_dec, sizeof W_dec);
  p.b_dec.data()[1] = -1;
  const SparseActs acts{{0, 2, 2}, {0, 1}, {2, 3}};
  Tensor<float> x_hat(Shape{2, 2});

  decode(p, acts, x_hat.view());

  EXPECT_EQ(std::vector<float>(x_hat.span().begin(), x_hat.span().end()),
            (std::vector<float>{2, 2, 0, -1}));
}

TEST(TopK, gives_the_same_bytes_for_any_number_of_threads) {
  const Problem problem = make_problem(20, 300, 8, 192, 16, true);
  const auto run = [&](int threads) {
    const ThreadCount scope(threads);
    std::vector<GlobalStats> global;
    return step_gradients(*problem.variant, problem.state, problem.batch(), global);
  };

  const StepGradients one = run(1), two = run(2), five = run(5);

  for (const StepGradients* other : {&two, &five}) {
    EXPECT_TRUE(same_bytes<float>(one.features.dW_enc.span(), other->features.dW_enc.span()));
    EXPECT_TRUE(same_bytes<float>(one.features.dW_dec.span(), other->features.dW_dec.span()));
    EXPECT_TRUE(same_bytes<float>(one.features.db_enc.span(), other->features.db_enc.span()));
    EXPECT_TRUE(same_bytes<double>(one.bias.db_dec, other->bias.db_dec));
    EXPECT_EQ(one.bias.squared_norm, other->bias.squared_norm);
  }
}

TEST(TopK, rows_split_over_ranks_have_the_bytes_of_one_rank) {
  const Problem problem = make_problem(20, 300, 8, 192, 16, true);
  const Batch whole[] = {problem.batch()};
  const Batch split[] = {problem.part(0, 48), problem.part(48, 112), problem.part(160, 32)};
  std::vector<std::unique_ptr<StepScratch>> whole_scratch, split_scratch;

  const auto whole_global = measure_all(*problem.variant, problem.state, whole, whole_scratch);
  const auto split_global = measure_all(*problem.variant, problem.state, split, split_scratch);

  EXPECT_EQ(whole_global[0].counts, split_global[0].counts);
  EXPECT_TRUE(same_bytes<double>(whole_global[0].sums, split_global[0].sums));
  RowGradients one;
  problem.variant->gradients(problem.state, whole[0], whole_global, *whole_scratch[0], one);
  ASSERT_EQ(one.terms.size(), 2U);
  std::vector<std::size_t> entries(2, 0);
  for (std::size_t rank = 0; rank < 3; ++rank) {
    RowGradients part;
    problem.variant->gradients(problem.state, split[rank], split_global, *split_scratch[rank],
                               part);
    ASSERT_EQ(part.terms.size(), 2U);
    for (std::size_t t = 0; t < 2; ++t) {
      const GradientTerm &mine = part.terms[t], &all = one.terms[t];
      const std::size_t count = mine.acts.values.size(), at = entries[t];
      ASSERT_LE(at + count, all.acts.values.size());
      EXPECT_TRUE(same_bytes<float>(
          mine.v.cview().span(),
          all.v.cview().rows(split[rank].first_row, split[rank].x.axis(0)).span()));
      EXPECT_TRUE(same_bytes(std::span<const float>(mine.acts.values),
                             std::span(all.acts.values).subspan(at, count)));
      EXPECT_TRUE(same_bytes(std::span<const float>(mine.pre_grads),
                             std::span(all.pre_grads).subspan(at, count)));
      EXPECT_TRUE(same_bytes(std::span<const std::uint32_t>(mine.acts.features),
                             std::span(all.acts.features).subspan(at, count)));
      entries[t] += count;
    }
  }
  EXPECT_EQ(entries[0], one.terms[0].acts.values.size());
  EXPECT_EQ(entries[1], one.terms[1].acts.values.size());
  EXPECT_GT(entries[1], 0U);
}

TEST(TopK, excluded_rows_take_part_in_nothing) {
  Problem problem = make_problem(16, 96, 4, 32, 8, true);
  std::vector<GlobalStats> before_global, after_global;
  const StepGradients before =
      step_gradients(*problem.variant, problem.state, problem.batch(), before_global);
  for (std::size_t row = 0; row < 32; ++row)
    if (problem.included[row] == 0)
      for (float& value : problem.x.row(row)) value = 1e6F;

  const StepGradients after =
      step_gradients(*problem.variant, problem.state, problem.batch(), after_global);

  EXPECT_EQ(before_global[0].counts, after_global[0].counts);
  EXPECT_EQ(before_global[0].sums, after_global[0].sums);
  EXPECT_TRUE(same_bytes<float>(before.features.dW_enc.span(), after.features.dW_enc.span()));
  EXPECT_EQ(before_global[0].counts.back(), 27U);
}

TEST(TopK, a_batch_of_excluded_rows_alone_changes_nothing) {
  Problem problem = make_problem(16, 96, 4, 32, 8, true);
  problem.included.assign(32, 0);
  std::vector<GlobalStats> global;

  const StepGradients gradients =
      step_gradients(*problem.variant, problem.state, problem.batch(), global);

  EXPECT_EQ(gradients.bias.squared_norm, 0);
}

TEST(TopK, ages_grow_in_the_first_pass_only_and_firing_resets_them) {
  Problem problem = make_problem(16, 96, 4, 32, 8, false);
  problem.state.age.assign(96, 5);
  Batch batch = problem.batch();
  std::vector<GlobalStats> global;
  (void)step_gradients(*problem.variant, problem.state, batch, global);
  StepLog log;
  batch.first_pass = false;
  problem.variant->finish(problem.state, batch, global, log);
  const std::vector<std::uint64_t> second_pass = problem.state.age;
  batch.first_pass = true;
  problem.variant->finish(problem.state, batch, global, log);

  std::size_t fired = 0;
  for (std::size_t f = 0; f < 96; ++f) {
    const bool fires = global[0].counts[f] != 0;
    fired += fires;
    EXPECT_EQ(second_pass[f], fires ? 0U : 5U);
    EXPECT_EQ(problem.state.age[f], fires ? 0U : 5U + 27U);
  }
  EXPECT_GT(fired, 0U);
  EXPECT_LT(fired, 96U);
  EXPECT_EQ(log.included_rows, 27U);
  EXPECT_LE(log.l0, 4.0);
}

TEST(TopK, nan_in_a_row_reaches_the_gradient_norm) {
  Problem problem = make_problem(16, 96, 4, 32, 8, false);
  problem.x.row(0)[0] = std::numeric_limits<float>::quiet_NaN();
  std::vector<GlobalStats> global;

  const StepGradients gradients =
      step_gradients(*problem.variant, problem.state, problem.batch(), global);

  EXPECT_FALSE(std::isfinite(gradients.bias.squared_norm));
}

}  // namespace
}  // namespace refract
