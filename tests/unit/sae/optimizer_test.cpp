#include "refract/sae/optimizer.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/step_loss.hpp"
#include "refract/ops/weight_mean.hpp"
#include "support/one_rank_step.hpp"
#include "unit/sae/problem.hpp"

namespace refract {
namespace {

TEST(LearningRate, rises_stays_and_falls_to_zero) {
  const OptimizerConfig config{.lr = 2, .warmup = 0.1, .decay = 0.2};

  EXPECT_DOUBLE_EQ(learning_rate(config, 0, 100), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(config, 4, 100), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(config, 9, 100), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate(config, 80, 100), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate(config, 90, 100), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(config, 99, 100), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate({.lr = 3, .warmup = 0, .decay = 0}, 0, 100), 3.0);
}

TEST(LearningRate, takes_steps_for_a_share_above_one) {
  const OptimizerConfig config{.lr = 2, .warmup = 10, .decay = 20};

  for (std::uint64_t step = 0; step < 100; ++step)
    EXPECT_DOUBLE_EQ(learning_rate(config, step, 100),
                     learning_rate({.lr = 2, .warmup = 0.1, .decay = 0.2}, step, 100))
        << step;
  EXPECT_DOUBLE_EQ(learning_rate(config, 4, 1000), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate({.lr = 3, .warmup = 1000, .decay = 0}, 99, 100), 0.3);
}

TEST(LearningRate, falls_along_half_a_cosine_and_to_a_floor) {
  const OptimizerConfig cosine{.lr = 2, .warmup = 0, .decay = 0.4, .cosine = true},
      floor{.lr = 2, .warmup = 0, .decay = 0.4, .floor = 0.25},
      both{.lr = 2, .warmup = 0, .decay = 0.4, .cosine = true, .floor = 0.25};

  EXPECT_DOUBLE_EQ(learning_rate(cosine, 60, 100), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate(cosine, 70, 100), 1 + std::sqrt(0.5));  // a quarter of the way
  EXPECT_DOUBLE_EQ(learning_rate(cosine, 80, 100), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(cosine, 90, 100), 1 - std::sqrt(0.5));
  EXPECT_DOUBLE_EQ(learning_rate(floor, 60, 100), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate(floor, 80, 100), 1.25);
  EXPECT_DOUBLE_EQ(learning_rate(floor, 100, 100), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(both, 80, 100), 1.25);
  EXPECT_DOUBLE_EQ(learning_rate(both, 90, 100), 0.5 + 0.75 * (1 - std::sqrt(0.5)));
}

TEST(KOfStep, falls_linearly_to_k_and_stays_there) {
  SaeConfig config;
  config.k = 4;
  config.k_start = 14;
  config.k_decay = 0.2;

  std::vector<std::size_t> found;
  for (std::uint64_t step = 0; step < 30; ++step) found.push_back(k_of_step(config, step, 100));

  // Half an entry a step, halves away from k.
  const std::vector<std::size_t> expected{14, 14, 13, 13, 12, 12, 11, 11, 10, 10, 9, 9, 8, 8, 7,
                                          7,  6,  6,  5,  5,  4,  4,  4,  4,  4,  4, 4, 4, 4, 4};
  EXPECT_EQ(found, expected);
  EXPECT_EQ(largest_k(config), 14U);
  config.k_start = 0;
  EXPECT_EQ(k_of_step(config, 0, 100), 4U);
}

TEST(KOfStep, is_the_number_of_entries_of_a_training_step_but_not_of_inference) {
  testing_support::Problem problem =
      testing_support::make_problem(16, 96, 4, 32, 8, false, 7, "topk", [](SaeConfig& c) {
        c.k_start = 20;
        c.k_decay = 0.5;
      });
  std::ranges::fill(problem.state.parameters.b_enc.span(), 3.0F);  // more than 20 are positive
  testing_support::OneRank rank(10);

  for (const double l0 : {20.0, 17.0, 14.0, 10.0, 7.0, 4.0, 4.0}) {
    SparseActs acts;
    problem.variant->encode(problem.state.parameters, problem.x.cview(), 0, acts);
    EXPECT_EQ(acts.values.size(), 32U * 4);
    EXPECT_EQ(rank.step(problem, problem.batch()).l0, l0);
  }
}

TEST(ClipScale, leaves_small_gradients_and_bounds_large_ones) {
  const auto scale = [](double norm, double clip) {
    double scalars[kStepScalars] = {};
    clip_scalars_of(norm, clip, scalars);
    return scalars[kScale];
  };

  EXPECT_EQ(scale(0.5, 1), 1);
  EXPECT_EQ(scale(4, 1), 0.25);
  EXPECT_EQ(scale(4, 0), 1);
  EXPECT_EQ(scale(1e30, 0), 0);
  EXPECT_EQ(scale(std::nan(""), 1), 0);
}

// One feature-major SAE with gradients to be set, and one update.
struct Updated {
  SaeState state;
  GradientRow at;
  Tensor<float> gradients;
  Tensor<double> scalars{Shape{kStepScalars}};

  Updated(std::size_t features, std::size_t d)
      : at{d, d}, gradients(Shape{features, GradientRow{d, d}.size()}) {
    const SaeShape shape{.d_sae = features, .d_in = d, .d_out = d};
    state.parameters = make_parameters(shape);
    state.m = make_parameters(shape);
    state.v = make_parameters(shape);
    scalars.data()[kScale] = scalars.data()[kFinite] = 1;
  }
  void update(double lr, std::uint64_t step) {
    Stream stream;
    adam_rows(gradients.cview(), adam_rows_of(state, false), adam_numbers({}, lr, step),
              scalars.cview(), stream);
  }
};

TEST(Adam, takes_the_steps_computed_by_hand) {
  Updated one(1, 1);
  one.state.parameters.W_dec.data()[0] = 1;
  one.gradients.data()[0] = 4;  // 2 after clipping
  one.scalars.data()[kScale] = 0.5;
  one.update(0.1, 1);
  // m = 0.2, v = 0.004; corrected 2 and 4: one step of the full rate.
  EXPECT_NEAR(one.state.parameters.W_enc.data()[0], -0.1, 1e-7);
  EXPECT_NEAR(one.state.m.W_enc.data()[0], 0.2, 1e-7);
  EXPECT_NEAR(one.state.v.W_enc.data()[0], 0.004, 1e-9);

  one.gradients.data()[0] = -2;
  one.update(0.1, 2);
  // m = 0.18 - 0.1, v = 0.003996 + 0.001; corrected by 0.19 and 0.001999.
  const double expected = -0.1 - 0.1 * (0.08 / 0.19) / std::sqrt(0.004996 / 0.001999);
  EXPECT_NEAR(one.state.parameters.W_enc.data()[0], expected, 1e-6);
}

TEST(Adam, changes_nothing_when_the_step_is_refused) {
  Updated one(1, 1);
  one.state.parameters.W_dec.data()[0] = 1;
  one.gradients.data()[0] = 4;
  one.scalars.data()[kFinite] = 0;

  one.update(0.1, 1);

  EXPECT_EQ(one.state.parameters.W_enc.data()[0], 0);
  EXPECT_EQ(one.state.m.W_enc.data()[0], 0);
}

TEST(Adam, leaves_decoder_rows_at_unit_norm_and_other_features_alone) {
  testing_support::Problem problem = testing_support::make_problem(16, 192, 4, 8, 8, false);
  const SaeParameters before = copy(problem.state.parameters);
  Stream stream;
  problem.state.m = copy_features(problem.state.m, 64, 64, stream);
  problem.state.v = copy_features(problem.state.v, 64, 64, stream);
  Updated own(64, 16);
  testing_support::fill_normal(own.gradients.span(), 5, 1);

  adam_rows(own.gradients.cview(), adam_rows_of(problem.state, false), adam_numbers({}, 0.05, 1),
            own.scalars.cview(), stream);

  for (std::size_t f = 0; f < 192; ++f) {
    double squared = 0, moved = 0;
    for (std::size_t d = 0; d < 16; ++d) {
      squared += std::pow(problem.state.parameters.W_dec.row(f)[d], 2);
      moved += std::abs(problem.state.parameters.W_dec.row(f)[d] - before.W_dec.row(f)[d]);
    }
    EXPECT_NEAR(squared, 1, 1e-6);
    EXPECT_EQ(moved > 0.01, f >= 64 && f < 128) << f;
  }
}

TEST(Adam, moves_a_non_negative_decoder_to_the_nearest_allowed_row) {
  Updated two(2, 3);
  two.state.parameters.decoder.non_negative = true;
  const float rows[2][3] = {{0.6F, 0.8F, 0}, {0.6F, 0, 0.8F}};
  std::copy_n(&rows[0][0], 6, two.state.parameters.W_dec.data());
  const float slopes[2][3] = {{1, 0, 1}, {1, 1, 1}};  // of the first step Adam keeps the sign alone
  for (std::size_t f = 0; f < 2; ++f)
    std::copy_n(slopes[f], 3, two.gradients.row(f).data() + two.at.decoder());

  two.update(1, 1);

  // (-0.4, 0.8, -1) and (-0.4, -1, -0.2): where nothing is positive, the axis of the largest entry
  // is nearest.
  const std::vector<float> expected{0, 1, 0, 0, 0, 1};
  for (std::size_t i = 0; i < 6; ++i)
    EXPECT_FLOAT_EQ(two.state.parameters.W_dec.data()[i], expected[i]) << i;
}

TEST(WeightMean, is_corrected_for_its_beginning_by_hand) {
  // Of decay 1/2: M = 1, 2.5, 5.25 over 1/2, 3/4, 7/8.
  const float weights[3] = {2, 4, 8}, expected[3] = {2, 2.5F / 0.75F, 5.25F / 0.875F};
  Tensor<float> w(Shape{1}), mean(Shape{1});
  Tensor<double> scalars(Shape{kStepScalars});
  Stream stream;
  mean.data()[0] = 77;  // forgotten at once

  for (std::uint64_t update = 1; update <= 3; ++update) {
    w.data()[0] = weights[update - 1];
    const float rate = weight_mean_rate(0.5, update);
    scalars.data()[kFinite] = 0;
    const float before = mean.data()[0];
    follow_weights(w.cview(), rate, scalars.cview(), mean.view(), stream);
    EXPECT_EQ(mean.data()[0], before) << "a refused step";
    scalars.data()[kFinite] = 1;
    follow_weights(w.cview(), rate, scalars.cview(), mean.view(), stream);
    EXPECT_FLOAT_EQ(mean.data()[0], expected[update - 1]);
  }
}

TEST(WeightMean, is_that_of_all_parameters_after_each_step_and_does_not_disturb_them) {
  constexpr double kDecay = 0.8;
  constexpr int kSteps = 7;
  const auto problem_with = [&](double decay) {
    return testing_support::make_problem(16, 96, 4, 32, 8, true, 7, "batchtopk",
                                         [=](SaeConfig& c) { c.ema = decay; });
  };
  testing_support::Problem plain = problem_with(0), problem = problem_with(kDecay);
  testing_support::OneRank rank(kSteps), other(kSteps);
  std::vector<std::vector<double>> sums;
  for (const auto& [name, tensor] : named_tensors(plain.state.parameters))
    sums.emplace_back(tensor.size());
  double weight = 0;

  for (int step = 0; step < kSteps; ++step) {
    (void)other.step(plain, plain.batch());
    (void)rank.step(problem, problem.batch());
    weight = kDecay * weight + (1 - kDecay);
    const auto tensors = named_tensors(plain.state.parameters);
    for (std::size_t t = 0; t < tensors.size(); ++t)
      for (std::size_t i = 0; i < sums[t].size(); ++i)
        sums[t][i] = kDecay * sums[t][i] + (1 - kDecay) * double(tensors[t].second.data()[i]);
  }

  const auto raw = named_tensors(problem.state.parameters),
             plain_raw = named_tensors(plain.state.parameters),
             means = named_tensors(*problem.state.mean);
  for (std::size_t t = 0; t < means.size(); ++t) {
    EXPECT_TRUE(std::ranges::equal(raw[t].second.span(), plain_raw[t].second.span()))
        << raw[t].first;
    for (std::size_t i = 0; i < sums[t].size(); ++i)
      EXPECT_NEAR(means[t].second.data()[i], sums[t][i] / weight, 2e-6) << means[t].first;
  }
  EXPECT_EQ(&plain.used(), &plain.state.parameters);
  const SaeParameters& used = problem.used();
  double shorter = 0;
  for (std::size_t f = 0; f < 96; ++f) {
    double squared = 0, mean = 0;
    for (std::size_t d = 0; d < 16; ++d) {
      squared += std::pow(used.W_dec.row(f)[d], 2);
      mean += std::pow(problem.state.mean->W_dec.row(f)[d], 2);
    }
    EXPECT_NEAR(squared, 1, 1e-6);
    shorter = std::max(shorter, 1 - mean);
  }
  EXPECT_GT(shorter, 1e-6) << "a mean of unit rows is shorter";
  EXPECT_TRUE(std::ranges::equal(used.W_enc.span(), problem.state.mean->W_enc.span()));
  (void)rank.step(problem, problem.batch());
  EXPECT_TRUE(std::ranges::equal(problem.used().W_enc.span(), problem.state.mean->W_enc.span()))
      << "a step makes it anew";
}

TEST(WeightMean, leaves_rows_of_a_free_decoder_as_they_are) {
  testing_support::Problem problem =
      testing_support::make_problem(16, 96, 4, 32, 8, true, 7, "topk", [](SaeConfig& c) {
        c.ema = 0.9;
        c.decoder_norm = "free";
      });
  testing_support::OneRank rank(3);
  (void)rank.step(problem, problem.batch());

  EXPECT_TRUE(std::ranges::equal(problem.used().W_dec.span(), problem.state.mean->W_dec.span()));
}

}  // namespace
}  // namespace refract
