#include <gtest/gtest.h>

#include <cmath>

#include "refract/base/parallel.hpp"
#include "support/one_rank_step.hpp"
#include "unit/sae/problem.hpp"

namespace refract {
namespace {

using namespace testing_support;

constexpr std::size_t kDim = 24, kPlanted = 48, kRows = 512;

// Rows that are sums of three planted unit directions with positive coefficients, around an offset.
void sparse_rows(const Tensor<float>& planted, std::uint64_t batch, Tensor<float>& x) {
  const CounterRng rng(Purpose::test, {17, batch});
  for (std::size_t row = 0; row < kRows; ++row) {
    std::fill(x.row(row).begin(), x.row(row).end(), 0.5F);
    for (std::size_t j = 0; j < 3; ++j) {
      const std::size_t f = rng.below(row * 8 + j, kPlanted);
      const double amount = 1 + rng.uniform(row * 8 + 4 + j);
      for (std::size_t d = 0; d < kDim; ++d)
        x.row(row)[d] += static_cast<float>(amount) * planted.row(f)[d];
    }
  }
}

// Thousands of tiny loops: threads would only wait for each other.
class OneThread {
 public:
  OneThread() { set_thread_count(1); }
  ~OneThread() { set_thread_count(before_); }

 private:
  int before_ = thread_count();
};

TEST(Training, lowers_the_loss_and_recovers_planted_features) {
  const OneThread scope;
  Tensor<float> planted(Shape{kPlanted, kDim});
  fill_normal(planted.span(), 3, 1);
  for (std::size_t f = 0; f < kPlanted; ++f) {
    double squared = 0;
    for (const float value : planted.row(f)) squared += double(value) * double(value);
    for (float& value : planted.row(f)) value = static_cast<float>(value / std::sqrt(squared));
  }
  const SaeConfig config{.name = "planted", .hooks = {"h"}, .d_sae = 96, .k = 3, .seed = 5};
  Problem sae = make_problem(kDim, 96, 3, kRows, 64, false);
  sae.config = config;
  sae.config.optimizer.lr = 3e-3;
  sae.variant = make_variant(config, kDim, 20000);
  sae.state = initial_state(config, *sae.variant, kDim, std::vector<float>(kDim, 0.5F));
  std::ranges::fill(sae.included, std::uint8_t{1});
  VisitLog first, last;
  constexpr std::uint64_t kSteps = 1500;
  OneRank rank(kSteps);
  for (std::uint64_t step = 0; step < kSteps; ++step) {
    sparse_rows(planted, step, sae.x);
    last = rank.step(sae, sae.batch());
    if (step == 0) first = last;
  }

  std::size_t recovered = 0;
  for (std::size_t f = 0; f < kPlanted; ++f) {
    double best = 0;
    for (std::size_t g = 0; g < config.d_sae; ++g) {
      double cosine = 0;
      for (std::size_t d = 0; d < kDim; ++d)
        cosine += double(planted.row(f)[d]) * double(sae.state.parameters.W_dec.row(g)[d]);
      best = std::max(best, cosine);
    }
    recovered += best > 0.9;
  }
  EXPECT_LT(last.squared_error, 0.15 * first.squared_error);
  EXPECT_GE(recovered, kPlanted * 8 / 10);
  EXPECT_EQ(sae.state.step, kSteps);
}

TEST(Training, repeats_itself_to_the_byte) {
  const auto digest_after_training = [] {
    Problem problem = make_problem(16, 128, 4, 64, 16, true);
    OneRank rank(5);
    for (int step = 0; step < 5; ++step) (void)rank.step(problem, problem.batch());
    std::vector<float> all;
    for (const auto& [name, view] : named_tensors(problem.state.parameters))
      all.insert(all.end(), view.span().begin(), view.span().end());
    return all;
  };

  EXPECT_EQ(digest_after_training(), digest_after_training());
}

TEST(InitialParameters, are_tied_unit_rows_that_depend_on_seed_and_feature_alone) {
  SaeConfig config{.name = "a", .hooks = {"h"}, .d_sae = 64, .k = 3, .seed = 5};
  const auto variant = make_variant(config, kDim, 100);
  const std::vector<float> median(kDim, 0.25F);
  const SaeParameters small = initial_parameters(config, *variant, kDim, median);
  config.d_sae = 128;
  const SaeParameters large = initial_parameters(config, *variant, kDim, median);
  const SaeParameters control =
      initial_parameters(config, *variant, kDim, median, Purpose::random_control);

  double squared = 0;
  for (std::size_t d = 0; d < kDim; ++d) {
    EXPECT_EQ(small.W_dec.row(63)[d], large.W_dec.row(63)[d]);
    EXPECT_EQ(small.W_dec.row(63)[d], small.W_enc.row(63)[d]);
    EXPECT_NE(control.W_dec.row(63)[d], large.W_dec.row(63)[d]);
    EXPECT_EQ(small.b_dec.data()[d], 0.25F);
    squared += double(small.W_dec.row(63)[d]) * double(small.W_dec.row(63)[d]);
  }
  EXPECT_NEAR(squared, 1, 1e-6);
}

}  // namespace
}  // namespace refract
