// The dense product alone, and the machine's fused multiply-adds: the roof over everything else
// here.
#include <vector>

#include "bench/support.hpp"
#include "refract/base/parallel.hpp"
#include "refract/ops/gemm.hpp"

namespace refract {
namespace {

void gemm(benchmark::State& state) {
  const auto M = static_cast<std::size_t>(state.range(0)),
             K = static_cast<std::size_t>(state.range(1)),
             N = static_cast<std::size_t>(state.range(2));
  Tensor<float> x(Shape{M, K}), W(Shape{N, K}), y(Shape{M, N});
  bench::fill(x.span(), 1);
  bench::fill(W.span(), 2);
  Stream stream;
  const PackedMatrix packed(W.cview(), {}, stream);
  for (auto _ : state) {
    gemm_nt(x.cview(), packed, y.view(), 0, stream);
    benchmark::DoNotOptimize(y.data());
  }
  bench::report(state, static_cast<double>(M), 2.0 * static_cast<double>(M * N * K), 0);
}
BENCHMARK(gemm)
    ->Args({4096, 256, 4096})
    ->Args({4096, 256, 1024})
    ->Args({4096, 768, 3072})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

// Independent chains of multiply-adds in registers, on every thread.
[[gnu::target("avx2,fma")]] float chains(std::size_t rounds) {
  using Lane = float __attribute__((vector_size(32)));
  constexpr int kChains = 12;
  Lane sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = Lane{} + static_cast<float>(c);
  const Lane a = Lane{} + 0.999F, b = Lane{} + 0.001F;
  for (std::size_t i = 0; i < rounds; ++i)
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sums[c] = sums[c] * a + b;
  float total = 0;
  for (const Lane& sum : sums) total += sum[0];
  return total;
}

void multiply_add_roof(benchmark::State& state) {
  constexpr std::size_t kRounds = 1'000'000;
  const auto threads = static_cast<std::size_t>(thread_count());
  std::vector<float> out(threads);
  for (auto _ : state) {
    parallel_for(threads, [&](std::size_t t) { out[t] = chains(kRounds); });
    benchmark::DoNotOptimize(out.data());
  }
  bench::report(state, 0, 2.0 * 8 * 12 * kRounds * static_cast<double>(threads), 0);
}
BENCHMARK(multiply_add_roof)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace refract
