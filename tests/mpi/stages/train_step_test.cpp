// A step shared by ranks against the step of one rank: every variant, exchange and mesh.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <tuple>

#include "refract/stages/train.hpp"
#include "support/one_rank_step.hpp"
#include "support/world.hpp"
#include "unit/sae/trained_cases.hpp"

namespace refract {
namespace {

using namespace testing_support;

constexpr std::uint64_t kSteps = 6, kManySteps = 200;
constexpr std::size_t kDim = 10, kDimOut = 7, kFeatures = 260, kRows = 48, kSliceRows = 6;

Problem problem_of(const TrainedCase& of) {
  Problem problem = problem_of(of, {kDim, kDimOut, kFeatures, kRows, kSliceRows}, true);
  for (std::size_t row = 30; row < 36; ++row)
    problem.included[row] = 0;  // a rank of five and more has no row to show
  return problem;
}
Problem topk_problem() { return problem_of(TrainedCase{"topk", "topk"}); }

// This rank's tile of a problem, and the steps of it.
class Together {
 public:
  Together(Problem problem, const std::string& reduction, const std::string& exchange,
           std::size_t columns, const std::string& wire = "fp32")
      : problem_(std::move(problem)) {
    config_.reduction = reduction;
    config_.exchange = exchange;
    config_.clip = 0.05;  // so that it clips
    Communicator& world = test::world();
    runner_ = std::make_unique<StepRunner>(
        config_, kManySteps,
        Mesh::collective_make(
            world, {.rows = static_cast<std::size_t>(world.size()) / columns, .features = columns},
            {}, wire == "bf16" ? Wire::bf16 : Wire::fp32));
    problem_.state = runner_->tile_of(problem_.state);
  }
  void collective_step() {
    const std::size_t slice = problem_.slice_rows;
    const Share slices = runner_->mesh().rows_of(problem_.x.axis(0) / slice);
    runner_->collective_step(problem_, problem_.part(slices.first * slice, slices.count * slice));
  }
  [[nodiscard]] SaeState collective_trained(std::uint64_t steps) {
    for (std::uint64_t step = 0; step < steps; ++step) collective_step();
    return runner_->collective_whole(problem_);
  }
  [[nodiscard]] Problem& problem() { return problem_; }
  [[nodiscard]] StepRunner& runner() { return *runner_; }

 private:
  TrainConfig config_;
  Problem problem_;
  std::unique_ptr<StepRunner> runner_;
};

void expect_same_bytes(const SaeParameters& a, const SaeParameters& b, const char* what) {
  const auto ours = named_tensors(a), theirs = named_tensors(b);
  for (std::size_t i = 0; i < ours.size(); ++i)
    EXPECT_EQ(0, std::memcmp(ours[i].second.data(), theirs[i].second.data(),
                             ours[i].second.size() * sizeof(float)))
        << what << ' ' << ours[i].first;
}

// Columns of a mesh of all ranks: divisors of their number.
std::vector<std::size_t> columns_of_world() {
  std::vector<std::size_t> columns;
  for (std::size_t c = 1; c <= 4; ++c) columns.push_back(c);
  return columns;
}

using Case = std::tuple<TrainedCase, std::string, std::string, std::size_t>;

class TrainStep : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const auto ranks = static_cast<std::size_t>(test::world().size());
    const std::size_t columns = std::get<3>(GetParam());
    if (ranks % columns != 0) GTEST_SKIP() << "no mesh of " << columns << " columns here";
    if (columns > 1 && std::get<1>(GetParam()) == "ordered") GTEST_SKIP() << "refused";
    if (columns > 1 && std::get<0>(GetParam()).name == "relu_resampled") GTEST_SKIP() << "refused";
  }
  static Together together() {
    const auto& [variant, reduction, exchange, columns] = GetParam();
    return Together(problem_of(variant), reduction, exchange, columns);
  }
};

// Of one step: the gradients themselves, so that no update hides them. The same terms are summed in
// another order: with n of them, each at most n * 2^-24 of the sum of magnitudes off. kRows rows
// with k entries; the norm of a gradient bounds what cancels by far less than the factor 8 here.
TEST_P(TrainStep, has_the_gradients_of_one_rank) {
  Problem alone = problem_of(std::get<0>(GetParam()));
  OneRank rank(kSteps, 0.05);
  (void)rank.step(alone, alone.batch());
  const StepGradients expected = gradients_of(alone);
  Together ranks = together();

  ranks.collective_step();
  ranks.runner().collective_finish(ranks.problem());

  const StepGradients mine = gradients_of(ranks.problem());
  const StepPart& part = ranks.problem().buffers->part;
  const std::size_t first = ranks.problem().state.parameters.first_feature + part.first_gradient;
  ASSERT_EQ(mine.dW_enc.size(), part.gradient_features);
  const bool ordered = std::get<1>(GetParam()) == "ordered" || test::world().size() == 1;
  double largest = 0;
  for (const auto& row : expected.dW_enc)
    for (const float value : row) largest = std::max(largest, std::abs(double(value)));
  for (const auto& row : expected.dW_dec)
    for (const float value : row) largest = std::max(largest, std::abs(double(value)));
  const double bound = ordered ? 0 : 8 * kRows * std::pow(2.0, -24) * largest;
  std::size_t compared = 0;
  for (std::size_t f = 0; f < mine.dW_enc.size(); ++f) {
    for (std::size_t d = 0; d < mine.dW_enc[f].size(); ++d)
      EXPECT_NEAR(mine.dW_enc[f][d], expected.dW_enc[first + f][d], bound);
    for (std::size_t d = 0; d < mine.dW_dec[f].size(); ++d)
      EXPECT_NEAR(mine.dW_dec[f][d], expected.dW_dec[first + f][d], bound);
    EXPECT_NEAR(mine.db_enc[f], expected.db_enc[first + f], bound);
    for (std::size_t i = 0; i < kFurther; ++i)
      EXPECT_NEAR(mine.further[i][f], expected.further[i][first + f], bound);
    ++compared;
  }
  std::uint64_t all = compared;
  test::world().all_reduce_sum(std::span(&all, 1));
  EXPECT_GE(all, kFeatures);
  EXPECT_NEAR(mine.norm, expected.norm, ordered ? 0 : 1e-6 * expected.norm);
  EXPECT_GT(expected.norm, 0.05) << "it should clip";
}

TEST_P(TrainStep, trains_to_what_one_rank_trains_to) {
  Problem alone = problem_of(std::get<0>(GetParam()));
  const SaeParameters start = copy(alone.state.parameters);
  const bool ordered = std::get<1>(GetParam()) == "ordered",
             bytes = ordered || test::world().size() == 1;
  const std::uint64_t steps = ordered && test::world().size() > 1 ? kManySteps : kSteps;
  OneRank rank(kManySteps, 0.05);
  VisitLog alone_log;
  for (std::uint64_t step = 0; step < steps; ++step) alone_log = rank.step(alone, alone.batch());
  Together ranks = together();
  (void)ranks.collective_trained(steps - 1);
  ranks.problem().log = {};
  const SaeState whole = ranks.collective_trained(1);
  const VisitLog& log = ranks.problem().log;

  EXPECT_TRUE(std::ranges::equal(alone.state.age.span(), whole.age.span()));
  EXPECT_EQ(alone.state.trained_rows, whole.trained_rows);
  EXPECT_EQ(alone_log.dead, log.dead);
  EXPECT_EQ(alone_log.resampled, log.resampled);
  if (bytes) {
    expect_same_bytes(alone.state.parameters, whole.parameters, "parameters");
    expect_same_bytes(alone.state.m, whole.m, "first moments");
    expect_same_bytes(alone.state.v, whole.v, "second moments");
    ASSERT_EQ(alone.state.mean.has_value(), whole.mean.has_value());
    if (whole.mean) expect_same_bytes(*alone.state.mean, *whole.mean, "means");
    EXPECT_EQ(alone_log.l0, log.l0);
    EXPECT_EQ(alone_log.loss, log.loss);
    EXPECT_EQ(alone_log.grad_norm, log.grad_norm);
    return;
  }
  // Each step adds the relative error of its gradients. An entry near zero may get another step
  // altogether, but moves its tensor as little.
  const double apart_at_most = kSteps * 1e-5;
  const auto ours = named_tensors(whole.parameters), theirs = named_tensors(alone.state.parameters),
             from = named_tensors(start);
  for (std::size_t i = 0; i < ours.size(); ++i) {
    double apart = 0, moved = 0;
    for (std::size_t j = 0; j < ours[i].second.size(); ++j) {
      const double end = theirs[i].second.data()[j];
      apart += std::pow(ours[i].second.data()[j] - end, 2);
      moved += std::pow(from[i].second.data()[j] - end, 2);
    }
    EXPECT_LE(std::sqrt(apart), apart_at_most * std::sqrt(moved)) << ours[i].first;
  }
  EXPECT_NEAR(log.loss, alone_log.loss, 1e-5 * alone_log.loss);
  EXPECT_NEAR(log.grad_norm, alone_log.grad_norm, 1e-5 * alone_log.grad_norm);
}

TEST_P(TrainStep, leaves_every_rank_of_a_column_with_the_same_parameters) {
  Together ranks = together();
  (void)ranks.collective_trained(2);

  const SaeParameters& mine = ranks.problem().state.parameters;
  for (const auto& [name, tensor] : named_tensors(mine)) {
    Tensor<double> sum(tensor.shape());
    for (std::size_t i = 0; i < tensor.size(); ++i) sum.data()[i] = tensor.data()[i];
    Stream stream;
    ranks.runner().mesh().along_column().all_reduce_sum(sum.view(), stream);
    const auto rows = static_cast<double>(ranks.runner().mesh().shape().rows);
    for (std::size_t i = 0; i < tensor.size(); ++i)
      ASSERT_EQ(sum.data()[i] / rows, tensor.data()[i]) << name;
  }
}

TEST_P(TrainStep, allocates_nothing_and_copies_nothing_to_the_host_once_it_runs) {
  Together ranks = together();
  ranks.collective_step();
  ranks.collective_step();
  const DeviceActivity before = device_activity();

  for (int step = 0; step < 3; ++step) ranks.collective_step();

  EXPECT_EQ(device_activity().allocations, before.allocations);
  EXPECT_EQ(device_activity().copies_to_host, before.copies_to_host);
}

INSTANTIATE_TEST_SUITE_P(Table, TrainStep,
                         ::testing::Combine(::testing::ValuesIn(distinct_cases()),
                                            ::testing::Values("ordered", "fast"),
                                            ::testing::Values("all_reduce", "sharded"),
                                            ::testing::ValuesIn(columns_of_world())),
                         [](const auto& tested) {
                           return std::get<0>(tested.param).name + "_" + std::get<1>(tested.param) +
                                  "_" + std::get<2>(tested.param) + "_" +
                                  std::to_string(std::get<3>(tested.param)) + "_columns";
                         });

TEST(BatchTopK, gives_ties_to_the_same_entries_on_any_ranks) {
  Problem alone = tied_problem();
  OneRank rank;
  (void)rank.step(alone, alone.batch());
  Together ranks(tied_problem(), "ordered", "all_reduce", 1);
  ranks.collective_step();

  const std::vector<std::uint64_t> mine = entries_of_rows(ranks.problem());
  EXPECT_EQ(test::world().all_gather(std::span<const std::uint64_t>(mine)), entries_of_rows(alone));
}

TEST(Sharded, moments_and_gradients_of_foreign_features_do_not_exist) {
  Together ranks(topk_problem(), "fast", "sharded", 1);
  ranks.collective_step();

  const Problem& p = ranks.problem();
  const std::size_t own = features_of_part({0, kFeatures}, ranks.runner().mesh().row(),
                                           ranks.runner().mesh().shape().rows)
                              .count;
  EXPECT_EQ(p.state.m.W_enc.axis(0), own);
  EXPECT_EQ(p.state.v.W_dec.axis(0), own);
  EXPECT_EQ(p.buffers->gradients.axis(0), own);
}

// Every addend of the gradients is rounded to bf16, so the sum is off by at most 2^-8 of the sum of
// magnitudes.
TEST(Wire, sends_gradients_as_bf16) {
  Problem alone = topk_problem();
  OneRank rank(kSteps, 0.05);
  (void)rank.step(alone, alone.batch());
  const StepGradients expected = gradients_of(alone);
  Together ranks(topk_problem(), "fast", "all_reduce", 1, "bf16");
  ranks.collective_step();
  ranks.runner().collective_finish(ranks.problem());
  const StepGradients mine = gradients_of(ranks.problem());

  double apart = 0, size = 0;
  for (std::size_t f = 0; f < kFeatures; ++f)
    for (std::size_t d = 0; d < kDim; ++d) {
      apart += std::pow(mine.dW_enc[f][d] - expected.dW_enc[f][d], 2);
      size += std::pow(expected.dW_enc[f][d], 2);
    }
  EXPECT_LE(std::sqrt(apart), std::sqrt(size) / 128);
  EXPECT_EQ(apart > 0, test::world().size() > 1);
}

}  // namespace
}  // namespace refract
