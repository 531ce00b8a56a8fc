// What evaluation costs beside reading and encoding.
#include <unistd.h>

#include <filesystem>

#include "bench/support.hpp"
#include "refract/base/progress.hpp"
#include "refract/sae/initialise.hpp"
#include "refract/stages/decoder_geometry.hpp"
#include "refract/stages/measure.hpp"
#include "refract/stages/sae_reconstructor.hpp"

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

// Held-out rows of 250-token documents on disk (in the page cache), and a TopK SAE, as widths are
// in practice: {d_in, d_sae, k}.
class Heldout {
 public:
  static constexpr const char* kHook = "blocks.0.hook_resid_post";
  static constexpr std::uint64_t kRows = 32768;

  Heldout(std::size_t d_in, std::size_t d_sae, std::size_t k)
      : folder_(std::filesystem::temp_directory_path() /
                ("refract-bench-" + std::to_string(::getpid()))),
        config_{.name = "one", .hooks = {kHook}, .d_sae = d_sae, .k = k},
        variant_(make_variant(config_, d_in, 100)),
        parameters_(initial_parameters(config_, *variant_, d_in, std::vector<float>(d_in, 0))) {
    set_quiet(true);
    std::filesystem::create_directories(folder_);
    Tensor<float> x(Shape{kRows, d_in});
    bench::fill(x.span(), 8);
    RowIdentity rows;
    rows.context.assign(kRows, 1), rows.position.assign(kRows, 2), rows.token.assign(kRows, 3);
    rows.document_position.assign(kRows, 5), rows.excluded.assign(kRows, 0);
    for (std::uint64_t row = 0; row < kRows; ++row) rows.document.push_back(row / 250);
    ChunkSpec spec;
    spec.permuted = false;
    spec.rows = spec.block_rows = kRows;
    spec.dtype = DType::bf16;
    spec.hooks = {{kHook, d_in}};
    const std::vector<std::uint8_t> sinks(kRows, 0);
    const HookRows hook{x.span(), sinks};
    ChunkWriter writer = ChunkWriter::collective_open(file(), spec, alone_);
    writer.write_block(0, rows, {&hook, 1});
    (void)writer.collective_seal();
    file_.emplace(file());
  }
  ~Heldout() { std::filesystem::remove_all(folder_); }

  [[nodiscard]] HeldoutRows rows() const { return HeldoutRows(*file_, kHook, 0); }
  [[nodiscard]] EvaluatedSae sae() const {
    return {&config_, variant_.get(), &parameters_, {scaling(0.5), scaling(0.5)}};
  }
  [[nodiscard]] const SaeParameters& parameters() const { return parameters_; }
  [[nodiscard]] const Variant& variant() const { return *variant_; }
  [[nodiscard]] double bytes() const {
    return static_cast<double>(kRows * (parameters_.d_in() * 2 + 30));
  }
  [[nodiscard]] double encoder_flops() const {
    return 2.0 * static_cast<double>(kRows * parameters_.d_in() * parameters_.d_sae());
  }

 private:
  [[nodiscard]] std::filesystem::path file() const { return folder_ / "heldout.h5"; }
  std::filesystem::path folder_;
  SaeConfig config_;
  std::unique_ptr<Variant> variant_;
  SaeParameters parameters_;
  Communicator alone_ = Communicator::loopback();
  std::optional<ChunkReader> file_;
};

Heldout heldout_of(const benchmark::State& state) {
  return {static_cast<std::size_t>(state.range(0)), static_cast<std::size_t>(state.range(1)),
          static_cast<std::size_t>(state.range(2))};
}

void evaluation_reads(benchmark::State& state) {
  const Heldout heldout = heldout_of(state);
  const HeldoutRows rows = heldout.rows();
  for (auto _ : state)
    rows.for_each_piece({0, rows.rows()}, false, {}, nullptr,
                        [](const RowPiece& piece) { benchmark::DoNotOptimize(piece.x.data()); });
  bench::report(state, Heldout::kRows, 0, heldout.bytes());
}

// The exported inference function and nothing else: product and selection.
void evaluation_encodes(benchmark::State& state) {
  const Heldout heldout = heldout_of(state);
  constexpr std::size_t kPiece = 4096;
  Tensor<float> x(Shape{kPiece, heldout.parameters().d_in()});
  bench::fill(x.span(), 8);
  SparseActs acts;
  for (auto _ : state)
    for (std::size_t first = 0; first < Heldout::kRows; first += kPiece)
      heldout.variant().encode(heldout.parameters(), x.cview(), 0, acts);
  bench::report(state, Heldout::kRows, heldout.encoder_flops(), 0);
}

// One pass with every metric; the bootstrap, whose cost does not depend on the encoder, by itself.
void evaluation_pass(benchmark::State& state) {
  const Heldout heldout = heldout_of(state);
  Communicator alone = Communicator::loopback();
  const std::vector<float> reference(heldout.parameters().d_in(), 0);
  for (auto _ : state) {
    SaeReconstructor sae(heldout.sae());
    const Measured measured{"SAE", &sae};
    benchmark::DoNotOptimize(collective_measure(
        heldout.rows(), {&measured, 1},
        {.reference = reference, .seed = 1, .replicates = 1, .doing = {}}, nullptr, alone));
  }
  bench::report(state, Heldout::kRows, heldout.encoder_flops(), heldout.bytes());
}

void evaluation_bootstrap(benchmark::State& state) {
  const Heldout heldout = heldout_of(state);
  SaeReconstructor sae(heldout.sae());
  DocumentTable table(std::vector<float>(heldout.parameters().d_in(), 0),
                      heldout.parameters().d_sae());
  const HeldoutRows rows = heldout.rows();
  rows.for_each_piece({0, rows.rows()}, false, {}, nullptr, [&](const RowPiece& piece) {
    SparseActs acts;
    Tensor<float> x_hat(piece.x.shape());
    sae.reconstruct(piece.x.cview(), piece.included, acts, x_hat.view());
    table.add({piece.x.cview(), x_hat.cview(), acts.row_starts, acts.features, acts.values,
               piece.unit, piece.counted});
  });
  for (auto _ : state) benchmark::DoNotOptimize(replicate_metrics(table, 1, {0, 1000}));
}

void widths(benchmark::internal::Benchmark* bench) {
  bench->Args({256, 4096, 32})->Args({640, 2560, 50})->Args({768, 24576, 32});
  bench->Unit(benchmark::kMillisecond)->UseRealTime();
}
BENCHMARK(evaluation_reads)->Apply(widths);
BENCHMARK(evaluation_encodes)->Apply(widths);
BENCHMARK(evaluation_pass)->Apply(widths);
BENCHMARK(evaluation_bootstrap)->Apply(widths);

}  // namespace
}  // namespace refract
