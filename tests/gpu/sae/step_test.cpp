// The whole training step of every variant on a device against the CPU: the sequence of
// stages/train_step.cpp on one rank, where every exchange is nothing.
#include <gtest/gtest.h>

#include <cmath>

#include "refract/ops/adam.hpp"
#include "refract/ops/feature_ages.hpp"
#include "refract/sae/optimizer.hpp"
#include "support/gpu.hpp"
#include "unit/sae/trained_cases.hpp"

namespace refract {
namespace {

using namespace testing_support;

constexpr std::size_t kDim = 20, kDimOut = 12, kFeatures = 130, kBatchRows = 48, kSliceRows = 6;
constexpr std::uint64_t kSteps = 4;
constexpr double kClip = 0.05;
Problem problem_of(const TrainedCase& of) {
  return problem_of(of, {kDim, kDimOut, kFeatures, kBatchRows, kSliceRows}, true);
}

// A problem's SAE and batch on one device.
class OnDevice {
 public:
  OnDevice(const Problem& problem, Device device)
      : variant_(*problem.variant),
        config_(problem.config),
        stream_(device),
        x_(copied(problem.batch().x)),
        target_(copied(problem.batch().target)),
        included_(copied(problem.batch().included)) {
    const SaeState& from = problem.state;
    state_.parameters = copy_features(from.parameters, 0, kFeatures, stream_);
    state_.m = copy_features(from.m, 0, kFeatures, stream_);
    state_.v = copy_features(from.v, 0, kFeatures, stream_);
    state_.age = copied(from.age.cview());
    batch_ = problem.batch();
    batch_.x = x_.cview();
    batch_.target = target_.cview();
    batch_.included = included_.cview();
    const bool centred = input_is_centred(config_);
    buffers_ = std::make_unique<StepBuffers>(variant_.shape(), state_.parameters.shape(),
                                             StepPart{.rows = kBatchRows,
                                                      .batch_rows = kBatchRows,
                                                      .slice_rows = kSliceRows,
                                                      .dictionary = kFeatures,
                                                      .gradient_features = kFeatures},
                                             centred, stream_);
    variant_.prepare(step_of());
    share_dead();
  }

  void step() {
    StepBuffers& own = *buffers_;
    SaeParameters& p = state_.parameters;
    const Step step = step_of();
    for (std::size_t round = 0; round < own.rounds.size(); ++round) {
      variant_.measure(round, step);
      if (own.rounds[round].statistics)
        add_slices(own.slice_sums.cview(), own.sums.view(), stream_);
    }
    variant_.weigh(step);
    const GradientRows rows = step.own_rows();
    for (std::size_t t = 0; t < own.terms; ++t)
      sort_by_feature(rows.entries[t], own.by_feature[t], stream_);
    variant_.gradients(step, rows, 0, own.gradients.view());
    finish_gradients({.W_enc = p.W_enc.cview(),
                      .W_dec = p.W_dec.cview(),
                      .decoder = p.decoder,
                      .input_is_centred = input_is_centred(config_),
                      .r_mag = p.is_gated() ? p.r_mag.cview() : TensorView<const float>()},
                     own.gradients.view(), own.panels.view(), stream_);
    bias_gradient(own.bias_errors(), own.panels.cview(), kClip, own.db_dec.view(),
                  own.scalars.view(), stream_);
    const AdamNumbers numbers = adam_numbers(config_.optimizer, 1e-3, state_.step + 1);
    adam_rows(own.gradients.cview(), adam_rows_of(state_, trains_threshold(config_)), numbers,
              own.scalars.cview(), stream_);
    adam_vector(own.db_dec.cview(), p.b_dec.view(), state_.m.b_dec.view(), state_.v.b_dec.view(),
                numbers, own.scalars.cview(), stream_);
    variant_.finish(step);
    share_dead();
    note_dead(own.all_dead.cview(), own.scalars.view(), stream_);
    ++state_.step;
  }

  [[nodiscard]] SaeParameters parameters() {
    SaeParameters host = make_parameters(state_.parameters.shape());
    copy_into(state_.parameters, host, stream_);
    return host;
  }
  template <typename T>
  [[nodiscard]] Tensor<T> on_host(const Tensor<T>& there) {
    Tensor<T> host(there.shape());
    copy_tensor(there.cview(), host.view(), stream_);
    stream_.synchronize();
    return host;
  }
  [[nodiscard]] StepBuffers& buffers() { return *buffers_; }
  [[nodiscard]] const SaeState& state() const { return state_; }

 private:
  template <typename T>
  [[nodiscard]] Tensor<std::remove_const_t<T>> copied(TensorView<T> from) {
    Tensor<std::remove_const_t<T>> to(from.shape(), stream_.device());
    copy_tensor(from, to.view(), stream_);
    stream_.synchronize();
    return to;
  }
  [[nodiscard]] Step step_of() {
    return {state_, batch_, *buffers_, stream_, k_of_step(config_, state_.step, 200)};
  }
  void share_dead() {
    copy_tensor(buffers_->dead_count.cview(), buffers_->all_dead.view(), stream_);
  }

  const Variant& variant_;
  const SaeConfig& config_;
  Stream stream_;
  Tensor<float> x_, target_;
  Tensor<std::uint8_t> included_;
  SaeState state_;
  Batch batch_;
  std::unique_ptr<StepBuffers> buffers_;
};

class StepOnGpu : public test::OnGpu, public ::testing::WithParamInterface<TrainedCase> {};

// The products of the encoder are added in another order: each pre-activation is off by at most
// (D + 1) 2^-24 of the sum of its magnitudes, below 1e-5 of a gradient here, and every step adds as
// much. No two candidates of this problem lie so near each other that the selection changes.
TEST_P(StepOnGpu, trains_as_the_cpu_does) {
  const Problem problem = problem_of(GetParam());
  OnDevice here(problem, {}), there(problem, gpu);

  for (std::uint64_t step = 0; step < kSteps; ++step) {
    here.step();
    there.step();
    const Tensor<double> ours = there.on_host(there.buffers().scalars),
                         theirs = here.on_host(here.buffers().scalars);
    for (const StepScalar which : {kRows, kL0, kDead, kFinite})
      EXPECT_EQ(ours.data()[which], theirs.data()[which]) << "step " << step << " value " << which;
    for (const StepScalar which : {kLoss, kMeanSquaredError, kPenalty, kNorm, kScale})
      EXPECT_NEAR(ours.data()[which], theirs.data()[which], 1e-5 * std::abs(theirs.data()[which]))
          << "step " << step << " value " << which;
  }

  const Tensor<std::uint64_t> age = there.on_host(there.state().age),
                              age_here = here.on_host(here.state().age);
  EXPECT_TRUE(std::ranges::equal(age.span(), age_here.span()));
  const SaeParameters ours = there.parameters(), theirs = here.parameters();
  const auto a = named_tensors(ours), b = named_tensors(theirs),
             from = named_tensors(problem.state.parameters);
  std::size_t compared = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    double apart = 0, moved = 0;
    for (std::size_t j = 0; j < a[i].second.size(); ++j, ++compared) {
      apart += std::pow(double(a[i].second.data()[j]) - double(b[i].second.data()[j]), 2);
      moved += std::pow(double(from[i].second.data()[j]) - double(b[i].second.data()[j]), 2);
    }
    EXPECT_LE(std::sqrt(apart), kSteps * 1e-4 * std::sqrt(moved)) << a[i].first;
    EXPECT_TRUE(a[i].first == "threshold" || moved > 0) << a[i].first;
  }
  EXPECT_GT(compared, 2U * kFeatures * kDimOut);
}

TEST_P(StepOnGpu, allocates_nothing_and_copies_nothing_to_the_host) {
  const Problem problem = problem_of(GetParam());
  OnDevice there(problem, gpu);
  there.step();
  const DeviceActivity before = device_activity();

  for (int step = 0; step < 2; ++step) there.step();

  EXPECT_EQ(device_activity().allocations, before.allocations);
  EXPECT_EQ(device_activity().copies_to_host, before.copies_to_host);
}

// The scale is gated where the overflow arises: nothing waits for the host to say so.
TEST_P(StepOnGpu, changes_no_weight_when_the_gradient_overflows) {
  Problem problem = problem_of(GetParam());
  problem.x.row(0)[0] = std::numeric_limits<float>::infinity();
  OnDevice there(problem, gpu);

  there.step();

  EXPECT_EQ(there.on_host(there.buffers().scalars).data()[kFinite], 0);
  const SaeParameters after = there.parameters();
  const auto now = named_tensors(after), then = named_tensors(problem.state.parameters);
  for (std::size_t i = 0; i < now.size(); ++i)
    if (now[i].first != "threshold") {
      EXPECT_TRUE(std::ranges::equal(now[i].second.span(), then[i].second.span())) << now[i].first;
    }
}

INSTANTIATE_TEST_SUITE_P(Variants, StepOnGpu, ::testing::ValuesIn(distinct_cases()),
                         [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace refract
