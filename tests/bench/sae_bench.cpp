// One optimisation step on one rank: forward, gradients, Adam. Peers: SAELens, dictionary_learning,
// sparsify.
#include "bench/support.hpp"
#include "support/one_rank_step.hpp"

namespace refract {
namespace {

void step(benchmark::State& state, const char* variant) {
  const auto d = static_cast<std::size_t>(state.range(0)),
             F = static_cast<std::size_t>(state.range(1)),
             k = static_cast<std::size_t>(state.range(2)),
             n = static_cast<std::size_t>(state.range(3));
  const SaeConfig config{
      .name = "bench", .hooks = {"h"}, .variant = variant, .d_sae = F, .k = k, .seed = 1};
  const auto made = make_variant(config, d, 1'000'000'000);
  std::vector<float> median(d);
  SaeState sae = initial_state(config, *made, median);
  Tensor<float> x(Shape{n, d});
  bench::fill(x.span(), 3);
  const std::vector<std::uint8_t> included(n, 1);
  const Batch batch{
      .x = x.cview(), .included = included, .first_row = 0, .rows = n, .slice_rows = 32};
  for (auto _ : state) (void)testing_support::one_rank_step(*made, sae, batch, {}, 1'000'000, 1.0);
  const auto rows = static_cast<double>(n), width = static_cast<double>(d);
  bench::report(state, rows,
                rows * (2 * width * static_cast<double>(F) + 8 * width * static_cast<double>(k)),
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

}  // namespace
}  // namespace refract
