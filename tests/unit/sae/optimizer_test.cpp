#include "refract/sae/optimizer.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/step_loss.hpp"
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

}  // namespace
}  // namespace refract
