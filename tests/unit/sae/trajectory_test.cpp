// 200 steps of every variant against torch's: the order of projection, clip, Adam, renormalisation
// and ages, which gradients that are checked one by one say nothing about.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <ostream>
#include <string>

#include "refract/store/safetensors.hpp"
#include "support/one_rank_step.hpp"
#include "unit/sae/problem.hpp"

namespace refract {
namespace {

using namespace testing_support;

constexpr std::size_t kRows = 64, kSteps = 200, kBatches = 25;
constexpr std::uint64_t kDeadAfterRows = 320;

struct Recreated {
  std::string name, variant;
  PenaltyConfig penalty{};
  double aux = 1.0 / 32;
};
void PrintTo(const Recreated& of, std::ostream* out) { *out << of.name; }

const SafetensorsFile& golden() {
  static const SafetensorsFile file(std::string(REFRACT_SOURCE_DIR) +
                                    "/tests/data/trajectory_golden.safetensors");
  return file;
}

Tensor<float> stored(const std::string& name, const Shape& shape) {
  Tensor<float> out(shape);
  read_f32(golden().at(name), out.span());
  return out;
}

Problem problem_of(const Recreated& of) {
  Problem made;
  made.config = {.name = "test", .hooks = {"blocks.0.hook_resid_post"}, .d_sae = 96, .k = 8};
  made.config.penalty = of.penalty;
  made.config.aux.coefficient = of.aux;
  made.config = as_variant(made.config, of.variant);
  if (of.variant == "matryoshka") made.config.prefixes = {"12", "32"};
  made.config.penalty = of.penalty;
  made.config.jumprelu = {.threshold = 0.1, .bandwidth = 0.3};
  if (of.variant != "jumprelu") made.config.jumprelu = {};
  made.config.optimizer = {.lr = 2e-3, .warmup = 0, .decay = 0};
  made.variant = make_variant(made.config, 16, kDeadAfterRows);
  const Tensor<float> b_dec = stored("b_dec", {16});
  made.state = initial_state(made.config, *made.variant, 16, b_dec.span());
  for (const auto& [name, tensor] : named_tensors(made.state.parameters))
    if (name == "W_enc" || name == "b_enc" || name == "W_dec")
      read_f32(golden().at(name), tensor.span());
  made.included.assign(kRows, 1);
  made.slice_rows = 8;
  made.input = made.target = {.parts = {{made.config.hooks[0], 16, 1}},
                              .mean = std::vector<float>(16),
                              .geometric_median = std::vector<float>(16)};
  return made;
}

class Trajectories : public ::testing::TestWithParam<Recreated> {};

// fp64 from the same start stays within 1e-6 of torch's fp32 losses (3e-5 of KL's), as the golden
// file's metadata says.
TEST_P(Trajectories, are_torch_s) {
  Problem problem = problem_of(GetParam());
  const Tensor<float> batches = stored("batches", {kBatches, kRows, 16}),
                      losses = stored(GetParam().name + ".losses", {kSteps}),
                      l0 = stored(GetParam().name + ".l0", {kSteps});
  OneRank rank(kSteps, 1.0);
  double worst = 0, worst_l0 = 0;
  for (std::size_t step = 0; step < kSteps; ++step) {
    problem.x = Tensor<float>(Shape{kRows, 16});
    std::copy_n(batches.data() + step % kBatches * problem.x.size(), problem.x.size(),
                problem.x.data());
    const VisitLog log = rank.step(problem, problem.batch());
    const double loss = losses.data()[step];
    worst = std::max(worst, std::abs(log.loss - loss) / loss);
    worst_l0 = std::max(worst_l0, std::abs(log.l0 - double(l0.data()[step])));
  }
  EXPECT_LT(worst, GetParam().name == "relu_kl" ? 2e-4 : 2e-5);
  EXPECT_LT(worst_l0, 0.1);  // a few entries at their edge
  EXPECT_LT(losses.data()[kSteps - 1], losses.data()[0]);
}

INSTANTIATE_TEST_SUITE_P(
    Torch, Trajectories,
    ::testing::Values(
        Recreated{"topk", "topk"}, Recreated{"batchtopk", "batchtopk"},
        Recreated{"abstopk", "abstopk"}, Recreated{"matryoshka", "matryoshka"},
        Recreated{"relu_l1", "relu", {.kind = "l1", .coefficient = 0.3}},
        Recreated{"relu_tanh", "relu", {.kind = "tanh", .coefficient = 0.5, .steepness = 4}},
        Recreated{
            "relu_kl", "relu", {.kind = "kl", .coefficient = 0.05, .target = 0.05, .steepness = 4}},
        Recreated{"topk_l1", "topk", {.kind = "l1", .coefficient = 0.05}, 0},
        Recreated{"jumprelu_l0", "jumprelu", {.kind = "l0", .coefficient = 0.05}},
        Recreated{"jumprelu_target", "jumprelu", {.kind = "l0", .coefficient = 1, .target = 6}},
        Recreated{
            "jumprelu_tanh", "jumprelu", {.kind = "tanh", .coefficient = 0.3, .steepness = 4}},
        Recreated{"gated", "gated", {.kind = "l1", .coefficient = 0.3}}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace refract
