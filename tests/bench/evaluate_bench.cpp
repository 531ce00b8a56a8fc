// What evaluation costs beside reading and encoding.
#include "bench/support.hpp"
#include "refract/base/progress.hpp"
#include "refract/stages/decoder_geometry.hpp"

namespace refract {
namespace {

// M^2 D / 2 multiply-adds; the product alone is gemm_bench.
void decoder_geometry_of(benchmark::State& state) {
  const auto features = static_cast<std::size_t>(state.range(0)),
             d_in = static_cast<std::size_t>(state.range(1));
  Tensor<float> W(Shape{features, d_in});
  bench::fill(W.span(), 1);
  Communicator alone = Communicator::loopback();
  SharedStop stop(alone);
  set_quiet(true);
  for (auto _ : state)
    benchmark::DoNotOptimize(collective_decoder_geometry("SAE", W.cview(), stop, alone));
  const auto rows = static_cast<double>(features);
  bench::report(state, rows, rows * rows * static_cast<double>(d_in), 0);
}
BENCHMARK(decoder_geometry_of)
    ->Args({2560, 640})
    ->Args({16384, 768})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace refract
