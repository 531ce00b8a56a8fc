// The whole way measure -> gradients -> weight gradients against finite differences of a loss
// written out in fp64.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <string>
#include <tuple>

#include "support/one_rank_step.hpp"
#include "unit/sae/problem.hpp"

namespace refract {
namespace {

using namespace testing_support;

using Rows = std::vector<std::vector<double>>;

Rows to_rows(TensorView<const float> view) {
  Rows rows(view.axis(0));
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i].assign(view.row(i).begin(), view.row(i).end());
  return rows;
}

// Positive pre-activations of the whole batch, the k of each included row on average: what
// batchtopk keeps.
std::set<std::pair<std::size_t, std::size_t>> largest_of_batch(
    const Rows& pre, const std::vector<std::uint8_t>& included, std::size_t k) {
  std::vector<std::pair<std::size_t, std::size_t>> all;
  std::size_t rows = 0;
  for (std::size_t i = 0; i < pre.size(); ++i) {
    rows += included[i];
    for (std::size_t f = 0; included[i] && f < pre[i].size(); ++f)
      if (pre[i][f] > 0) all.emplace_back(i, f);
  }
  std::stable_sort(all.begin(), all.end(),
                   [&](auto a, auto b) { return pre[a.first][a.second] > pre[b.first][b.second]; });
  all.resize(std::min(all.size(), k * rows));
  return {all.begin(), all.end()};
}

// The loss of SPEC 6, aloud. The residual variance and the residual in AuxK are constants of the
// base point (sg in the formula), so they are computed once.
struct PlainLoss {
  Rows x, target, W_enc, W_dec;
  std::vector<double> b_enc, b_dec;
  std::vector<std::uint8_t> included;
  std::vector<bool> dead;
  std::size_t k = 0, aux_k = 0;
  double coefficient = 0, l1 = 0;
  std::string variant;
  bool centred = true;
  std::set<std::pair<std::size_t, std::size_t>>
      selected;  // batchtopk: constant, as the selection's gradient is
  Rows constant_error;
  double constant_variance = 0;

  explicit PlainLoss(const Problem& problem)
      : x(to_rows(problem.x.cview())),
        target(problem.y.size() != 0 ? to_rows(problem.y.cview()) : x),
        W_enc(to_rows(problem.state.parameters.W_enc.cview())),
        W_dec(to_rows(problem.state.parameters.W_dec.cview())),
        included(problem.included),
        k(problem.config.k),
        aux_k(x[0].size() / 2),
        coefficient(problem.config.aux.coefficient),
        variant(problem.config.variant),
        centred(problem.y.size() == 0) {
    const SaeParameters& p = problem.state.parameters;
    b_enc.assign(p.b_enc.span().begin(), p.b_enc.span().end());
    b_dec.assign(p.b_dec.span().begin(), p.b_dec.span().end());
    if (variant == "relu") {
      coefficient = 0;
      l1 = problem.config.l1.coefficient;
    }
    if (variant == "batchtopk") {
      Rows all;
      for (std::size_t i = 0; i < x.size(); ++i) all.push_back(pre(i));
      selected = largest_of_batch(all, included, k);
    }
    for (const auto age : problem.state.age.span()) dead.push_back(age >= kDeadAfter);
    double rows = 0;
    std::vector<double> mean(b_dec.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      constant_error.push_back(error(i));
      if (included[i] == 0) continue;
      ++rows;
      for (std::size_t d = 0; d < mean.size(); ++d) mean[d] += constant_error[i][d];
    }
    for (std::size_t i = 0; i < x.size(); ++i)
      if (included[i] != 0)
        for (std::size_t d = 0; d < mean.size(); ++d)
          constant_variance += std::pow(constant_error[i][d] - mean[d] / rows, 2) / rows;
  }

  [[nodiscard]] std::vector<double> pre(std::size_t i) const {
    std::vector<double> out(b_enc);
    for (std::size_t f = 0; f < out.size(); ++f)
      for (std::size_t d = 0; d < x[i].size(); ++d)
        out[f] += (x[i][d] - (centred ? b_dec[d] : 0)) * W_enc[f][d];
    return out;
  }
  static std::vector<std::size_t> largest(const std::vector<double>& values,
                                          std::vector<std::size_t> from, std::size_t count) {
    std::stable_sort(from.begin(), from.end(),
                     [&](auto a, auto b) { return values[a] > values[b]; });
    from.resize(std::min(count, from.size()));
    return from;
  }
  [[nodiscard]] std::vector<std::size_t> active(std::size_t i, const std::vector<double>& p) const {
    std::vector<std::size_t> all(p.size());
    std::iota(all.begin(), all.end(), 0U);
    if (variant == "topk") return largest(p, all, k);
    std::erase_if(all, [&](std::size_t f) {
      return variant == "relu" ? !(p[f] > 0) : !selected.contains({i, f});
    });
    return all;
  }
  [[nodiscard]] std::vector<double> error(std::size_t i) const {
    const std::vector<double> p = pre(i);
    std::vector<double> e(target[i]);
    for (std::size_t d = 0; d < e.size(); ++d) e[d] -= b_dec[d];
    for (const std::size_t f : active(i, p))
      for (std::size_t d = 0; d < e.size(); ++d) e[d] -= std::max(p[f], 0.0) * W_dec[f][d];
    return e;
  }
  [[nodiscard]] std::vector<double> aux_error(std::size_t i) const {
    const std::vector<double> p = pre(i);
    std::vector<std::size_t> from;
    for (std::size_t f = 0; f < p.size(); ++f)
      if (dead[f]) from.push_back(f);
    std::vector<double> r(constant_error[i]);
    for (double& value : r) value = -value;
    for (const std::size_t f : largest(p, from, aux_k))
      for (std::size_t d = 0; d < r.size(); ++d) r[d] += p[f] * W_dec[f][d];
    return r;
  }
  [[nodiscard]] double value() const {
    double rows = 0, main = 0, aux = 0;
    const bool any_dead = std::any_of(dead.begin(), dead.end(), [](bool d) { return d; });
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (included[i] == 0) continue;
      ++rows;
      for (const double e : error(i)) main += e * e;
      if (l1 > 0)
        for (const double p : pre(i)) main += l1 * std::max(p, 0.0);
      if (any_dead)
        for (const double r : aux_error(i)) aux += r * r;
    }
    return main / rows + coefficient * aux / rows / constant_variance;
  }
  [[nodiscard]] double derivative(double& at) {
    const double step = 1e-6, before = at;
    at = before + step;
    const double up = value();
    at = before - step;
    const double down = value();
    at = before;
    return (up - down) / (2 * step);
  }
};

enum class Dead { none, third, all };

Problem problem_of(const std::string& variant, Dead dead) {
  Problem problem = variant == "transcoder"
                        ? make_transcoder_problem(10, 7, 48, 24, 6, dead != Dead::none)
                        : make_problem(10, 48, 5, 24, 6, dead != Dead::none, 7, variant);
  // All dead, and so low that fewer than k of a row are positive: there is less to select than
  // asked for.
  if (dead == Dead::all)
    for (std::size_t f = 0; f < 48; ++f) {
      problem.state.age.data()[f] = kDeadAfter;
      if (f % 3 != 0) problem.state.parameters.b_enc.data()[f] -= 2;
    }
  return problem;
}

class GradientTest : public ::testing::TestWithParam<std::tuple<std::string, Dead>> {};

TEST_P(GradientTest, equal_finite_differences_of_the_loss) {
  const auto& [variant, dead] = GetParam();
  Problem problem = problem_of(variant, dead);
  PlainLoss loss(problem);
  OneRank rank(10, 0.0);
  const VisitLog log = rank.step(problem, problem.batch());
  const StepGradients gradients = gradients_of(problem);

  EXPECT_NEAR(log.loss, loss.value(), 1e-5 * loss.value());
  const std::size_t d_in = problem.state.parameters.d_in(),
                    d_out = problem.state.parameters.d_out();
  EXPECT_EQ(log.aux_loss > 0, dead != Dead::none || problem.config.variant == "relu");
  EXPECT_TRUE(dead != Dead::all || log.l0 < 5) << log.l0;
  double largest = 0;
  std::size_t nonzero = 0;
  const auto compare = [&](float ours, double theirs, const char* what, std::size_t at) {
    EXPECT_NEAR(ours, theirs, 2e-5 * std::max(1.0, std::abs(theirs))) << what << " " << at;
    largest = std::max(largest, std::abs(theirs));
    nonzero += std::abs(theirs) > 1e-4;
  };
  for (std::size_t f = 0; f < 48; ++f) {
    compare(gradients.db_enc[f], loss.derivative(loss.b_enc[f]), "b_enc", f);
    for (std::size_t d = 0; d < d_in; ++d)
      compare(gradients.dW_enc[f][d], loss.derivative(loss.W_enc[f][d]), "W_enc", f);
    std::vector<double> dW_dec(d_out);
    double along = 0;
    for (std::size_t d = 0; d < d_out; ++d) {
      dW_dec[d] = loss.derivative(loss.W_dec[f][d]);
      along += dW_dec[d] * loss.W_dec[f][d];
    }
    for (std::size_t d = 0; d < d_out; ++d)
      compare(gradients.dW_dec[f][d], dW_dec[d] - along * loss.W_dec[f][d], "W_dec", f);
  }
  for (std::size_t d = 0; d < d_out; ++d)
    compare(static_cast<float>(gradients.db_dec[d]), loss.derivative(loss.b_dec[d]), "b_dec", d);
  EXPECT_GT(largest, 0.05);
  EXPECT_GT(nonzero, 20 * (d_in + d_out));
}

INSTANTIATE_TEST_SUITE_P(Variants, GradientTest,
                         ::testing::Combine(::testing::Values("topk", "batchtopk", "relu",
                                                              "transcoder"),
                                            ::testing::Values(Dead::none, Dead::third, Dead::all)),
                         [](const auto& each) {
                           const Dead dead = std::get<1>(each.param);
                           return std::get<0>(each.param) + (dead == Dead::none ? ""
                                                             : dead == Dead::third
                                                                 ? "_with_dead_features"
                                                                 : "_with_all_features_dead");
                         });

// A decoder some of whose entries are at their bound.
Problem bounded_problem(const std::string& variant) {
  Problem problem = make_problem(10, 48, 5, 24, 6, true, 7, variant);
  SaeParameters& p = problem.state.parameters;
  p.non_negative_decoder = true;
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
  free.state.parameters.non_negative_decoder = false;
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
  const StepBuffers& own = *problem.buffers;
  const SaeParameters& p = problem.state.parameters;
  const std::size_t width = own.gradients.axis(1);
  const GradientRows rows{.input = own.centred.cview(),
                          .entries = {own.entries.view(), own.aux.view()},
                          .error = {own.error[0].cview(), own.error[1].cview()}};
  const Batch batch = problem.batch();
  const Step step{problem.state, batch, *problem.buffers, rank.runner().stream()};
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
