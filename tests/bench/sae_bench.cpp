// One optimisation step on one rank: forward, gradients, Adam. Peers: SAELens, dictionary_learning,
// sparsify (docs/performance.md).
#include "bench/support.hpp"
#include "refract/ops/gemm.hpp"
#include "support/one_rank_step.hpp"
#include "unit/sae/problem.hpp"

namespace refract {
namespace {

using namespace testing_support;

// Sizes of a benchmark's arguments.
struct Sizes {
  explicit Sizes(const benchmark::State& state)
      : d(static_cast<std::size_t>(state.range(0))),
        F(static_cast<std::size_t>(state.range(1))),
        k(static_cast<std::size_t>(state.range(2))),
        n(static_cast<std::size_t>(state.range(3))) {}
  std::size_t d, F, k, n;
};

// Thresholds of the size that SAELens begins with.
void usual_thresholds(SaeConfig& config) {
  if (config.variant == "jumprelu") config.jumprelu = {};
}

void step(benchmark::State& state, const char* variant, const char* dtype = "fp32",
          float bias = 0) {
  const auto [d, F, k, n] = Sizes(state);
  Problem problem = make_problem(d, F, k, n, 32, false, 3, variant, usual_thresholds);
  std::ranges::fill(problem.included, std::uint8_t{1});
  problem.variant = make_variant(problem.config, d, 1'000'000'000);
  problem.state = initial_state(problem.config, *problem.variant, d, std::vector<float>(d));
  bench::fill(problem.x.span(), 3);
  std::ranges::fill(problem.state.parameters.b_enc.span(), bias);
  OneRank rank(1'000'000, 1.0, "fast", dtype);
  const Batch batch = problem.batch();
  std::uint64_t entries = 0;
  for (auto _ : state) {
    rank.runner().collective_step(problem, batch);
    ++entries;
  }
  rank.runner().collective_finish(problem);
  const auto rows = static_cast<double>(n), width = static_cast<double>(d);
  state.counters["L0"] = problem.log.l0 / static_cast<double>(entries);
  bench::report(state, rows,
                rows * (2 * width * static_cast<double>(F) +
                        8 * width * problem.log.l0 / static_cast<double>(entries)),
                0);
}
BENCHMARK_CAPTURE(step, topk, "topk")
    ->Args({256, 1024, 16, 4096})
    ->Args({256, 4096, 32, 4096})
    ->Args({512, 8192, 32, 4096})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(step, batchtopk, "batchtopk")
    ->Args({256, 4096, 32, 4096})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
// At the L0 that such an SAE has after training, and at that of its first steps.
BENCHMARK_CAPTURE(step, relu, "relu", "fp32", -2.0F)
    ->Args({256, 4096, 32, 4096})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(step, relu_untrained, "relu")
    ->Args({256, 4096, 32, 4096})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(step, abstopk, "abstopk")
    ->Args({256, 4096, 32, 4096})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(step, matryoshka, "matryoshka")
    ->Args({256, 4096, 32, 4096})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(step, jumprelu, "jumprelu", "fp32", -2.0F)
    ->Args({256, 4096, 32, 4096})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(step, jumprelu_untrained, "jumprelu")
    ->Args({256, 4096, 32, 4096})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(step, gated, "gated", "fp32", -2.0F)
    ->Args({256, 4096, 32, 4096})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(step, topk_bf16, "topk", "bf16")
    ->Args({256, 4096, 32, 4096})
    ->Args({512, 8192, 32, 4096})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

// Inference: activations of rows as compressed rows, which is the encoder's product and the choice.
void encode(benchmark::State& state, const char* variant, float bias) {
  const auto [d, F, k, n] = Sizes(state);
  Problem problem = make_problem(d, F, k, n, 32, false, 3, variant, usual_thresholds);
  problem.state = initial_state(problem.config, *problem.variant, d, std::vector<float>(d));
  bench::fill(problem.x.span(), 3);
  std::ranges::fill(problem.state.parameters.b_enc.span(), bias);
  SparseActs acts;
  for (auto _ : state)
    problem.variant->encode(problem.state.parameters, problem.x.cview(), 0, acts);
  const auto rows = static_cast<double>(n);
  state.counters["L0"] = static_cast<double>(acts.values.size()) / rows;
  bench::report(state, rows, rows * 2 * static_cast<double>(d * F), 0);
}
BENCHMARK_CAPTURE(encode, topk, "topk", 0.0F)
    ->Args({256, 4096, 32, 4096})
    ->Args({512, 8192, 32, 4096})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(encode, jumprelu, "jumprelu", -2.0F)
    ->Args({256, 4096, 32, 4096})
    ->Args({512, 8192, 32, 4096})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

// As a machine without AVX-512 does it: of the roof above, whose loop is AVX2's.
void step_of_avx2(benchmark::State& state) {
  const std::string before = gemm_backend_description();
  for (const std::string& backend : gemm_backends())
    if (backend.find("avx2") != std::string::npos) (void)use_gemm_kernel(backend);
  step(state, "topk");
  (void)use_gemm_kernel(before);
}
BENCHMARK(step_of_avx2)
    ->Args({256, 4096, 32, 4096})
    ->Args({512, 8192, 32, 4096})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace refract
