// A step shared by ranks against the step of one rank: every variant, both exchanges.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <tuple>

#include "refract/stages/train.hpp"
#include "support/one_rank_step.hpp"
#include "support/world.hpp"
#include "unit/sae/problem.hpp"

namespace refract {
namespace {

using namespace testing_support;

constexpr std::uint64_t kSteps = 6;
constexpr std::size_t kRows = 48, kSliceRows = 6;
// fast against ordered, of the way that training went: the same terms are summed in another order,
// so a gradient's relative error is at most kRows * 2^-24 = 3e-6, and Adam's step has it too, in
// each step. An entry near zero may get another step altogether, but moves its tensor as little.
constexpr double kFastApart = kSteps * 3e-6;

using Case =
    std::tuple<std::string_view, std::string, std::string>;  // variant, reduction, exchange

class TrainStep : public ::testing::TestWithParam<Case> {
 protected:
  static Problem problem() {
    return make_problem(10, 130, 5, kRows, kSliceRows, true, 7,
                        std::string(std::get<0>(GetParam())));
  }

  // This rank's share of the steps; what every rank then holds.
  static SaeState trained_together(StepLog& log) {
    Problem p = problem();
    TrainConfig config;
    config.reduction = std::get<1>(GetParam());
    config.exchange = std::get<2>(GetParam());
    config.batch_rows = kRows;
    Communicator& world = test::world();
    const Share slices = share_of(kRows / kSliceRows, world.rank(), world.size());
    const Batch part = p.part(slices.first * kSliceRows, slices.count * kSliceRows);
    StepRunner runner(config, kSteps, world);
    TrainedSae sae;
    sae.config = p.config;
    sae.variant = make_variant(p.config, 10, kDeadAfter);
    sae.scratch = sae.variant->make_scratch();
    sae.state = std::move(p.state);
    for (std::uint64_t step = 0; step < kSteps; ++step) log = runner.collective_step(sae, part);
    runner.collective_gather_moments(sae);
    return std::move(sae.state);
  }

  static SaeState trained_alone(StepLog& log) {
    Problem p = problem();
    for (std::uint64_t step = 0; step < kSteps; ++step)
      log = one_rank_step(*p.variant, p.state, p.batch(), TrainConfig{}.optimizer, kSteps,
                          TrainConfig{}.clip);
    return std::move(p.state);
  }
};

void expect_same_bytes(const SaeParameters& a, const SaeParameters& b, const char* what) {
  const auto ours = named_tensors(a), theirs = named_tensors(b);
  for (std::size_t i = 0; i < ours.size(); ++i)
    EXPECT_EQ(0, std::memcmp(ours[i].second.data(), theirs[i].second.data(),
                             ours[i].second.size() * sizeof(float)))
        << what << ' ' << ours[i].first;
}

TEST_P(TrainStep, gives_what_one_rank_gives) {
  StepLog alone_log, together_log;
  const SaeState alone = trained_alone(alone_log), together = trained_together(together_log);

  EXPECT_EQ(alone.age, together.age);
  EXPECT_EQ(alone_log.l0, together_log.l0);
  EXPECT_EQ(alone_log.dead, together_log.dead);
  if (std::get<1>(GetParam()) == "ordered" || test::world().size() == 1) {
    expect_same_bytes(alone.parameters, together.parameters, "parameters");
    expect_same_bytes(alone.m, together.m, "first moments");
    expect_same_bytes(alone.v, together.v, "second moments");
    EXPECT_EQ(alone_log.loss, together_log.loss);
    EXPECT_EQ(alone_log.grad_norm, together_log.grad_norm);
    return;
  }
  const Problem start = problem();
  const auto ours = named_tensors(together.parameters), theirs = named_tensors(alone.parameters),
             from = named_tensors(start.state.parameters);
  for (std::size_t i = 0; i < ours.size(); ++i) {
    double apart = 0, moved = 0;
    for (std::size_t j = 0; j < ours[i].second.size(); ++j) {
      const double end = theirs[i].second.data()[j];
      apart += std::pow(ours[i].second.data()[j] - end, 2);
      moved += std::pow(from[i].second.data()[j] - end, 2);
    }
    EXPECT_LE(std::sqrt(apart), kFastApart * std::sqrt(moved)) << ours[i].first;
  }
  EXPECT_NEAR(together_log.loss, alone_log.loss, 1e-6 * alone_log.loss);
  EXPECT_NEAR(together_log.grad_norm, alone_log.grad_norm, 1e-6 * alone_log.grad_norm);
}

TEST_P(TrainStep, leaves_every_rank_with_the_same_parameters) {
  StepLog log;
  const SaeState mine = trained_together(log);
  for (const auto& [name, tensor] : named_tensors(mine.parameters)) {
    const std::vector<float> all = test::world().all_gather(std::span<const float>(tensor.span()));
    for (std::size_t i = 0; i < all.size(); ++i)
      ASSERT_EQ(all[i], tensor.data()[i % tensor.size()]) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Table, TrainStep,
                         ::testing::Combine(::testing::ValuesIn(variant_names()),
                                            ::testing::Values("ordered", "fast"),
                                            ::testing::Values("all_reduce", "sharded")),
                         [](const auto& tested) {
                           return std::string(std::get<0>(tested.param)) + "_" +
                                  std::get<1>(tested.param) + "_" + std::get<2>(tested.param);
                         });

}  // namespace
}  // namespace refract
