#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "support/one_rank_step.hpp"
#include "unit/sae/problem.hpp"

namespace refract {
namespace {

using namespace testing_support;

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
  SaeParameters p = make_parameters({.d_sae = 4, .d_in = 2, .d_out = 2});
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
  SaeParameters p = make_parameters({.d_sae = 2, .d_in = 2, .d_out = 2});
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
  const auto run = [&](int threads) {
    const ThreadCount scope(threads);
    Problem problem = make_problem(20, 300, 8, 192, 16, true);
    return step_gradients(problem, problem.batch());
  };

  const StepGradients one = run(1), two = run(2), five = run(5);

  EXPECT_TRUE(one == two);
  EXPECT_TRUE(one == five);
  EXPECT_GT(one.norm, 0);
}

TEST(TopK, excluded_rows_take_part_in_nothing) {
  Problem problem = make_problem(16, 96, 4, 32, 8, true),
          other = make_problem(16, 96, 4, 32, 8, true);
  for (std::size_t row = 0; row < 32; ++row)
    if (other.included[row] == 0)
      for (float& value : other.x.row(row)) value = 1e6F;

  const StepGradients before = step_gradients(problem, problem.batch()),
                      after = step_gradients(other, other.batch());

  EXPECT_TRUE(std::ranges::equal(problem.buffers->counts.span(), other.buffers->counts.span()));
  EXPECT_TRUE(std::ranges::equal(problem.buffers->sums.span(), other.buffers->sums.span()));
  EXPECT_TRUE(before == after);
  EXPECT_EQ(problem.buffers->counts.span().back(), 27U);
}

TEST(TopK, a_batch_of_excluded_rows_alone_changes_nothing) {
  Problem problem = make_problem(16, 96, 4, 32, 8, true);
  problem.included.assign(32, 0);

  EXPECT_EQ(step_gradients(problem, problem.batch()).norm, 0);
}

TEST(TopK, ages_grow_in_the_first_pass_only_and_firing_resets_them) {
  Problem problem = make_problem(16, 96, 4, 32, 8, false);
  std::ranges::fill(problem.state.age.span(), 5U);
  OneRank rank;
  Batch batch = problem.batch();
  batch.first_pass = false;
  (void)rank.step(problem, batch);
  const std::vector<std::uint64_t> counts(problem.buffers->counts.span().begin(),
                                          problem.buffers->counts.span().end());
  const std::vector<std::uint64_t> second_pass(problem.state.age.span().begin(),
                                               problem.state.age.span().end());
  EXPECT_EQ(problem.state.trained_rows, 0U);
  batch.first_pass = true;
  problem.variant->finish({problem.state, batch, *problem.buffers, rank.runner().stream(), 4});

  std::size_t fired = 0;
  for (std::size_t f = 0; f < 96; ++f) {
    const bool fires = counts[f] != 0;
    fired += fires;
    EXPECT_EQ(second_pass[f], fires ? 0U : 5U);
    EXPECT_EQ(problem.state.age.data()[f], fires ? 0U : 5U + 27U);
  }
  EXPECT_GT(fired, 0U);
  EXPECT_LT(fired, 96U);
  EXPECT_EQ(counts.back(), 27U);
  EXPECT_LE(problem.log.l0, 4.0);
}

TEST(TopK, a_nan_in_a_row_stops_the_step_before_anything_is_updated) {
  Problem problem = make_problem(16, 96, 4, 32, 8, false);
  problem.x.row(0)[0] = std::numeric_limits<float>::quiet_NaN();
  const SaeParameters before = copy(problem.state.parameters);
  OneRank rank;

  EXPECT_THROW((void)rank.step(problem, problem.batch()), NumericalError);

  const auto now = named_tensors(problem.state.parameters), then = named_tensors(before);
  for (std::size_t i = 0; i < now.size(); ++i)
    EXPECT_TRUE(std::ranges::equal(now[i].second.span(), then[i].second.span())) << now[i].first;
}

}  // namespace
}  // namespace refract
