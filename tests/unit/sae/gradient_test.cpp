// The whole way measure -> gradients -> weight gradients against finite differences of a loss
// written out in fp64.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "support/one_rank_step.hpp"
#include "unit/sae/plain_loss.hpp"
#include "unit/sae/trained_cases.hpp"

namespace refract {
namespace {

using namespace testing_support;

enum class Dead { none, third, all };

Problem problem_of(const TrainedCase& of, Dead dead) {
  Problem problem = problem_of(of, {10, 7, 48, 24, 6}, dead != Dead::none);
  // All dead, and so low that fewer than k of a row are positive: there is less to select than
  // asked for.
  if (dead == Dead::all)
    for (std::size_t f = 0; f < 48; ++f) {
      problem.state.age.data()[f] = kDeadAfter;
      if (f % 3 != 0) problem.state.parameters.b_enc.data()[f] -= 2;
    }
  return problem;
}

class GradientTest : public ::testing::TestWithParam<std::tuple<TrainedCase, Dead>> {};

TEST_P(GradientTest, equal_finite_differences_of_the_loss) {
  const auto& [of, dead] = GetParam();
  Problem problem = problem_of(of, dead);
  PlainLoss loss(problem);
  OneRank rank(10, 0.0);
  const VisitLog log = rank.step(problem, problem.batch());
  const StepGradients gradients = gradients_of(problem);

  EXPECT_NEAR(log.loss, loss.value(), 1e-5 * loss.value());
  const std::size_t d_in = problem.state.parameters.d_in(),
                    d_out = problem.state.parameters.d_out();
  const bool adds = problem.config.variant == "relu" || problem.config.variant == "matryoshka" ||
                    problem.config.penalty.kind != "auto";
  EXPECT_EQ(log.aux_loss > 0, dead != Dead::none || adds);
  EXPECT_TRUE(dead != Dead::all || log.l0 < 5 || of.variant == "abstopk") << log.l0;
  double largest = 0;
  std::size_t nonzero = 0;
  const auto compare = [&](float ours, double theirs, const char* what, std::size_t at) {
    EXPECT_NEAR(ours, theirs, 2e-5 * std::max(1.0, std::abs(theirs))) << what << " " << at;
    largest = std::max(largest, std::abs(theirs));
    nonzero += std::abs(theirs) > 1e-4;
  };
  for (std::size_t f = 0; f < 48; f += 2) {  // every third of them is dead
    compare(gradients.db_enc[f], loss.derivative(loss.b_enc[f]), "b_enc", f);
    for (std::size_t d = 0; d < d_in; ++d)
      compare(gradients.dW_enc[f][d], loss.derivative(loss.W_enc[f][d]), "W_enc", f);
    std::vector<double> dW_dec(d_out);
    double along = 0;
    for (std::size_t d = 0; d < d_out; ++d) {
      dW_dec[d] = loss.derivative(loss.W_dec[f][d]);
      along += dW_dec[d] * loss.W_dec[f][d];
    }
    if (problem.config.decoder_norm == "free") along = 0;
    for (std::size_t d = 0; d < d_out; ++d)
      compare(gradients.dW_dec[f][d], dW_dec[d] - along * loss.W_dec[f][d], "W_dec", f);
    if (!loss.threshold.empty() && trains_threshold(problem.config))
      compare(gradients.further[0][f], loss.derivative(loss.threshold[f]), "threshold", f);
    if (!loss.b_mag.empty()) {
      compare(gradients.further[0][f], loss.derivative(loss.b_mag[f]), "b_mag", f);
      compare(gradients.further[1][f], loss.derivative(loss.r_mag[f]), "r_mag", f);
    }
  }
  for (std::size_t d = 0; d < d_out; ++d)
    compare(static_cast<float>(gradients.db_dec[d]), loss.derivative(loss.b_dec[d]), "b_dec", d);
  EXPECT_GT(largest, 0.05);
  // Without AuxK what is dead has no slope; of a signed variant what was set low is what is large.
  const bool few = dead == Dead::all || of.variant == "abstopk";
  EXPECT_GT(nonzero, (few ? 4 : 10) * (d_in + d_out));
}

INSTANTIATE_TEST_SUITE_P(Variants, GradientTest,
                         ::testing::Combine(::testing::ValuesIn(trained_cases()),
                                            ::testing::Values(Dead::none, Dead::third, Dead::all)),
                         [](const auto& each) {
                           const Dead dead = std::get<1>(each.param);
                           return std::get<0>(each.param).name + (dead == Dead::none ? ""
                                                                  : dead == Dead::third
                                                                      ? "_with_dead_features"
                                                                      : "_with_all_features_dead");
                         });

// A decoder some of whose entries are at their bound.
Problem bounded_problem(const std::string& variant) {
  Problem problem = make_problem(10, 48, 5, 24, 6, true, 7, variant);
  SaeParameters& p = problem.state.parameters;
  p.decoder.non_negative = true;
  for (std::size_t f = 0; f < 48; ++f) {
    if (variant == "relu")
      p.b_enc.data()[f] -= 2;  // or half of all features add up to far more than x
    double squared = 0;
    for (float& value : p.W_dec.row(f)) squared += std::pow(value = std::max(value, 0.0F), 2);
    for (float& value : p.W_dec.row(f)) value = static_cast<float>(value / std::sqrt(squared));
  }
  return problem;
}

Rows doubles(const std::vector<std::vector<float>>& rows) {
  Rows out;
  for (const auto& row : rows) out.emplace_back(row.begin(), row.end());
  return out;
}

// W_dec moved by -length * direction, then to the nearest unit rows without negative entries, in
// fp64.
Rows descended(const Rows& W_dec, const Rows& direction, double length) {
  Rows moved = W_dec;
  for (std::size_t f = 0; f < moved.size(); ++f) {
    double squared = 0;
    for (std::size_t d = 0; d < moved[f].size(); ++d)
      squared += std::pow(moved[f][d] = std::max(0.0, moved[f][d] - length * direction[f][d]), 2);
    for (double& value : moved[f]) value /= std::sqrt(squared);
  }
  return moved;
}

class NonNegativeDecoder : public ::testing::TestWithParam<std::string> {};

// Along a descent that is set back to the bound, the loss falls by the squared norm of the true
// slope. The gradient without its bound would promise more.
TEST_P(NonNegativeDecoder, has_a_gradient_whose_norm_is_the_slope_of_the_bounded_loss) {
  Problem problem = bounded_problem(GetParam()), free = bounded_problem(GetParam());
  free.state.parameters.decoder.non_negative = false;
  PlainLoss loss(problem);
  const SaeParameters before_step = copy(problem.state.parameters);
  const StepGradients bounded = step_gradients(problem, problem.batch()),
                      unbounded = step_gradients(free, free.batch());
  const Rows W_dec = loss.W_dec;
  // Entries of length 1 only up to fp32: from the nearest unit row, as the descended ones are.
  const double length = 1e-6;
  loss.W_dec = descended(W_dec, doubles(unbounded.dW_dec), 0);
  const double before = loss.value();
  loss.W_dec = descended(W_dec, doubles(unbounded.dW_dec), length);
  const double slope = (before - loss.value()) / length;

  double squared = 0, squared_unbounded = 0;
  std::size_t held = 0, free_at_bound = 0;
  for (std::size_t f = 0; f < 48; ++f)
    for (std::size_t d = 0; d < 10; ++d) {
      const double ours = bounded.dW_dec[f][d], theirs = unbounded.dW_dec[f][d];
      squared += ours * ours;
      squared_unbounded += theirs * theirs;
      const bool at_bound = before_step.W_dec.row(f)[d] == 0;
      EXPECT_EQ(ours, at_bound ? std::min(theirs, 0.0) : theirs) << f << ' ' << d;
      held += at_bound && theirs > 0;
      free_at_bound += at_bound && theirs < 0;
    }
  EXPECT_NEAR(slope, squared, 1e-4 * squared);
  EXPECT_GT(squared_unbounded, 1.2 * squared);
  EXPECT_GT(held, 20U);
  EXPECT_GT(free_at_bound, 20U);
}

INSTANTIATE_TEST_SUITE_P(Variants, NonNegativeDecoder,
                         ::testing::Values("topk", "batchtopk", "relu"),
                         [](const auto& each) { return each.param; });

TEST(WeightGradients, the_norm_is_that_of_all_gradients) {
  Problem problem = make_problem(12, 130, 5, 24, 6, true);

  const StepGradients gradients = step_gradients(problem, problem.batch());

  double expected = 0;
  for (const auto* tensor : {&gradients.dW_enc, &gradients.dW_dec})
    for (const auto& row : *tensor)
      for (const float value : row) expected += double(value) * double(value);
  for (const float value : gradients.db_enc) expected += double(value) * double(value);
  for (const double value : gradients.db_dec) expected += value * value;
  EXPECT_NEAR(gradients.norm * gradients.norm, expected, 1e-12 * expected);
}

TEST(WeightGradients, a_shard_of_features_has_the_bytes_of_the_whole) {
  Problem problem = make_problem(12, 200, 5, 24, 6, true);
  OneRank rank(10, 0.0);
  (void)rank.step(problem, problem.batch());
  const SaeParameters& p = problem.state.parameters;
  const std::size_t width = problem.buffers->gradients.axis(1);
  const Batch batch = problem.batch();
  const Step step{problem.state, batch, *problem.buffers, rank.runner().stream(), 5};
  const GradientRows rows = step.own_rows();
  const auto finished = [&](std::size_t first, std::size_t count, Tensor<double>& panels) {
    Tensor<float> gradients(Shape{count, width});
    problem.variant->gradients(step, rows, first, gradients.view());
    panels = Tensor<double>(Shape{(count + 63) / 64, 13});
    finish_gradients(
        {.W_enc = p.W_enc.cview().rows(first, count), .W_dec = p.W_dec.cview().rows(first, count)},
        gradients.view(), panels.view(), rank.runner().stream());
    return gradients;
  };
  Tensor<double> whole_panels, shard_panels;

  const Tensor<float> whole = finished(0, 200, whole_panels),
                      shard = finished(128, 72, shard_panels);

  for (std::size_t i = 0; i < shard.size(); ++i)
    EXPECT_EQ(whole.data()[128 * width + i], shard.data()[i]);
  for (std::size_t i = 0; i < shard_panels.size(); ++i)
    EXPECT_EQ(whole_panels.data()[2 * 13 + i], shard_panels.data()[i]);
  EXPECT_GT(whole_panels.data()[2 * 13], 0.0);
}

}  // namespace
}  // namespace refract
