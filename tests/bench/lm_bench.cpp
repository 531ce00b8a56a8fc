// Forward of the demo's model, to the demo's hook and through all layers: 16 contexts of 256
// tokens.
#include <numeric>

#include "bench/support.hpp"
#include "refract/lm/language_model.hpp"

namespace refract {
namespace {

struct NoTap final : Tap {
  void at(HookPoint, TensorView<float>, Stream&) override {}
};

void gpt2_forward(benchmark::State& state) {
  const auto model = load_language_model(REFRACT_SOURCE_DIR "/configs/demo/model");
  const int last_layer = static_cast<int>(state.range(0));
  constexpr std::uint32_t kContexts = 16, kTokens = 256;
  std::vector<std::uint32_t> ids, positions, starts;
  for (std::uint32_t c = 0; c < kContexts; ++c) {
    starts.push_back(c * kTokens);
    for (std::uint32_t t = 0; t < kTokens; ++t) {
      ids.push_back((c * 131 + t * 17) % 8000);
      positions.push_back(t);
    }
  }
  starts.push_back(kContexts * kTokens);
  NoTap tap;
  Stream stream;
  for (auto _ : state) model->forward({ids, positions, starts}, last_layer, tap, stream);
  const double d = 256, layers = last_layer + 1, rows = kContexts * kTokens;
  // Of a layer: 12 d^2 weights, and scores and mixture over (T + 1) / 2 tokens on average.
  bench::report(state, rows, rows * layers * (2 * 12 * d * d + 4 * d * (kTokens + 1) / 2), 0);
}
BENCHMARK(gpt2_forward)->Arg(2)->Arg(5)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace refract
