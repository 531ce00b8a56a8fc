#include "refract/sae/optimizer.hpp"

#include <gtest/gtest.h>

#include <cmath>

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

TEST(ClipScale, leaves_small_gradients_and_bounds_large_ones) {
  EXPECT_EQ(clip_scale(0.5, 1), 1);
  EXPECT_EQ(clip_scale(4, 1), 0.25);
  EXPECT_EQ(clip_scale(4, 0), 1);
}

TEST(Adam, takes_the_steps_computed_by_hand) {
  SaeState state;
  state.parameters = make_parameters(1, 1, false);
  state.m = make_parameters(1, 1, false);
  state.v = make_parameters(1, 1, false);
  state.parameters.W_dec.data()[0] = 1;
  FeatureGradients gradients = make_feature_gradients(state.parameters, 0, 1);
  AdamStep step{{}, 0.1, 0.5, 1};
  gradients.dW_enc.data()[0] = 4;  // 2 after clipping
  adam_update(state, gradients, step);
  // m = 0.2, v = 0.004; corrected 2 and 4: one step of the full rate.
  EXPECT_NEAR(state.parameters.W_enc.data()[0], -0.1, 1e-7);
  EXPECT_NEAR(state.m.W_enc.data()[0], 0.2, 1e-7);
  EXPECT_NEAR(state.v.W_enc.data()[0], 0.004, 1e-9);

  step.step = 2;
  gradients.dW_enc.data()[0] = -2;
  adam_update(state, gradients, step);
  // m = 0.18 - 0.1, v = 0.003996 + 0.001; corrected by 0.19 and 0.001999.
  const double expected = -0.1 - 0.1 * (0.08 / 0.19) / std::sqrt(0.004996 / 0.001999);
  EXPECT_NEAR(state.parameters.W_enc.data()[0], expected, 1e-6);
}

TEST(Adam, leaves_decoder_rows_at_unit_norm_and_other_features_alone) {
  testing_support::Problem problem = testing_support::make_problem(16, 192, 4, 8, 8, false);
  const SaeParameters before = copy(problem.state.parameters);
  FeatureGradients gradients = make_feature_gradients(problem.state.parameters, 64, 64);
  testing_support::fill_normal(gradients.dW_dec.span(), 5, 1);
  testing_support::fill_normal(gradients.dW_enc.span(), 6, 1);

  adam_update(problem.state, gradients, {{}, 0.05, 1, 1});

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
  SaeState state;
  state.parameters = make_parameters(2, 3, false);
  state.parameters.non_negative_decoder = true;
  state.m = make_parameters(2, 3, false);
  state.v = make_parameters(2, 3, false);
  const float rows[2][3] = {{0.6F, 0.8F, 0}, {0.6F, 0, 0.8F}};
  std::copy_n(&rows[0][0], 6, state.parameters.W_dec.data());
  FeatureGradients gradients = make_feature_gradients(state.parameters, 0, 2);
  const float slopes[2][3] = {{1, 0, 1}, {1, 1, 1}};  // of the first step Adam keeps the sign alone
  std::copy_n(&slopes[0][0], 6, gradients.dW_dec.data());

  adam_update(state, gradients, {{}, 1, 1, 1});

  // (-0.4, 0.8, -1) and (-0.4, -1, -0.2): where nothing is positive, the axis of the largest entry
  // is nearest.
  const std::vector<float> expected{0, 1, 0, 0, 0, 1};
  for (std::size_t i = 0; i < 6; ++i)
    EXPECT_FLOAT_EQ(state.parameters.W_dec.data()[i], expected[i]) << i;
}

}  // namespace
}  // namespace refract
