#include "refract/stages/resample.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <utility>

#include "support/one_rank_step.hpp"
#include "unit/sae/problem.hpp"

namespace refract {
namespace {

using namespace testing_support;

constexpr std::size_t kDim = 16, kFeatures = 96, kRows = 48;

TEST(ResamplesAfter, every_so_many_steps_until_a_share_of_all) {
  SaeConfig config;
  config.name = "a";
  std::vector<std::uint64_t> found;
  EXPECT_FALSE(resamples_after(config, 0, 100));
  config.resample = {.every_steps = 20, .until = 0.5};

  for (std::uint64_t updates = 1; updates <= 100; ++updates)
    if (resamples_after(config, updates, 100)) found.push_back(updates);

  EXPECT_EQ(found, (std::vector<std::uint64_t>{20, 40}));
  config.resample.until = 0.6;
  EXPECT_TRUE(resamples_after(config, 60, 100));
}

// Every third feature is dead at first.
Problem problem_of(const std::string& variant, std::uint64_t every, std::size_t rows = kRows) {
  return make_problem(kDim, kFeatures, 4, rows, 8, true, 7, variant, [=](SaeConfig& c) {
    if (has_setting(c, OwnSetting::aux)) c.aux.coefficient = 0;
    if (every != 0) c.resample = {.every_steps = every, .until = 1, .scale = 0.3};
    c.ema = 0.9;
  });
}

std::vector<double> row_of(TensorView<const float> tensor, std::size_t row) {
  return {tensor.row(row).begin(), tensor.row(row).end()};
}
double norm_of(const std::vector<double>& values) {
  double squared = 0;
  for (const double value : values) squared += value * value;
  return std::sqrt(squared);
}

class Resample : public ::testing::TestWithParam<std::string> {};

TEST_P(Resample, makes_dead_features_of_rows_drawn_by_their_error) {
  Problem without = problem_of(GetParam(), 0), problem = problem_of(GetParam(), 2);
  OneRank one, other;
  std::vector<std::size_t> dead;
  for (int step = 0; step < 2; ++step) {
    (void)one.step(without, without.batch());
    if (step == 1)
      for (std::size_t f = 0; f < kFeatures; ++f)
        if (without.state.age.data()[f] >= kDeadAfter) dead.push_back(f);
  }
  (void)other.step(problem, problem.batch());
  ASSERT_EQ(problem.log.resampled, 0U);

  const std::uint64_t resampled = other.step(problem, problem.batch()).resampled;

  // The same aloud: the smallest of -log(u) / |e|, one after the other.
  ASSERT_GT(dead.size(), kFeatures / 4);
  ASSERT_EQ(resampled, dead.size());
  const CounterRng rng(Purpose::resample, {problem.config.seed, 2});
  std::vector<double> keys(kRows, std::numeric_limits<double>::infinity());
  for (std::size_t row = 0; row < kRows; ++row)
    if (problem.included[row] != 0)
      keys[row] = -std::log(1 - rng.uniform(row)) /
                  norm_of(row_of(without.buffers->error[kMainError].cview(), row));
  double norms = 0;
  for (std::size_t f = 0; f < kFeatures; ++f)
    if (std::ranges::find(dead, f) == dead.end())
      norms += norm_of(row_of(without.state.parameters.W_enc.cview(), f));
  const double factor = 0.3 * norms / static_cast<double>(kFeatures - dead.size());
  const SaeParameters &p = problem.state.parameters, &before = without.state.parameters;
  for (const std::size_t f : dead) {
    const auto row = static_cast<std::size_t>(std::ranges::min_element(keys) - keys.begin());
    keys[row] = std::numeric_limits<double>::infinity();
    const std::vector<double> x = row_of(problem.x.cview(), row);
    for (std::size_t d = 0; d < kDim; ++d) {
      EXPECT_NEAR(p.W_dec.row(f)[d], x[d] / norm_of(x), 1e-6);
      EXPECT_NEAR(p.W_enc.row(f)[d], factor * x[d], 1e-5);
      EXPECT_EQ(problem.state.mean->W_enc.row(f)[d], p.W_enc.row(f)[d]);
      for (const SaeParameters* moments : {&problem.state.m, &problem.state.v}) {
        EXPECT_EQ(moments->W_enc.row(f)[d], 0);
        EXPECT_EQ(moments->W_dec.row(f)[d], 0);
      }
    }
    EXPECT_EQ(p.b_enc.data()[f], 0);
    EXPECT_EQ(problem.state.m.b_enc.data()[f], 0);
    EXPECT_EQ(problem.state.age.data()[f], 0U);
    if (p.is_gated()) {
      EXPECT_EQ(p.b_mag.data()[f], 0);
      EXPECT_EQ(p.r_mag.data()[f], 0);
      EXPECT_EQ(problem.state.v.r_mag.data()[f], 0);
    }
    if (trains_threshold(problem.config)) {
      EXPECT_EQ(p.threshold.data()[f], static_cast<float>(problem.config.jumprelu.threshold));
    }
  }
  using Pair = std::pair<const SaeParameters*, const SaeParameters*>;
  for (const auto& [now, then] : {Pair{&p, &before}, Pair{&problem.state.m, &without.state.m}})
    for (std::size_t f = 0; f < kFeatures; ++f)
      if (std::ranges::find(dead, f) == dead.end()) {
        EXPECT_EQ(row_of(now->W_enc.cview(), f), row_of(then->W_enc.cview(), f));
        EXPECT_EQ(row_of(now->W_dec.cview(), f), row_of(then->W_dec.cview(), f));
      }
  EXPECT_EQ(problem.buffers->all_dead.data()[0], 0U) << "the next step knows";
}

INSTANTIATE_TEST_SUITE_P(Variants, Resample,
                         ::testing::Values("relu", "jumprelu", "gated", "batchtopk"),
                         [](const auto& each) { return each.param; });

TEST(ResampleOfFewRows, leaves_features_that_find_none) {
  Problem problem = problem_of("relu", 1, 16);
  OneRank rank;

  EXPECT_EQ(rank.step(problem, problem.batch()).resampled, 14U) << "two of 16 rows are excluded";
  EXPECT_EQ(problem.buffers->all_dead.data()[0], kFeatures / 3 - 14);
}

TEST(ResampleOfTranscoder, reads_its_input_and_writes_its_target) {
  Problem problem = make_transcoder_problem(kDim, 10, kFeatures, kRows, 8, true);
  problem.config.resample = {.every_steps = 1, .until = 1};
  OneRank rank;
  ASSERT_GT(rank.step(problem, problem.batch()).resampled, 0U);

  const std::vector<double> reads = row_of(problem.state.parameters.W_enc.cview(), 0),
                            writes = row_of(problem.state.parameters.W_dec.cview(), 0);
  std::size_t found = 0;
  for (std::size_t row = 0; row < kRows; ++row) {
    const std::vector<double> x = row_of(problem.x.cview(), row),
                              y = row_of(problem.y.cview(), row);
    double read = 0, written = 0;
    for (std::size_t d = 0; d < kDim; ++d) read += reads[d] * x[d];
    for (std::size_t d = 0; d < 10; ++d) written += writes[d] * y[d];
    found += read > 0.99999 * norm_of(reads) * norm_of(x) && written > 0.99999 * norm_of(y);
  }
  EXPECT_EQ(found, 1U);
}

}  // namespace
}  // namespace refract
