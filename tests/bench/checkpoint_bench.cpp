// A checkpoint of d_in 1024, d_sae 16384, as it is written after a chunk: what the main thread
// does, what the helper thread does behind it, and the roofs of this machine in the same run. Files
// are in the folder that TMPDIR names.
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "bench/support.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/written_file.hpp"
#include "refract/pipeline/ledger.hpp"
#include "refract/sae/saelens.hpp"
#include "refract/sae/trainer_state.hpp"
#include "refract/sae/variant.hpp"
#include "refract/store/artifact.hpp"

namespace refract {
namespace {

constexpr std::size_t kWidth = 1024, kFeatures = 16384;

struct Saved {
  SaeConfig config{.name = "bench", .hooks = {"h"}, .d_sae = kFeatures, .k = 32};
  std::unique_ptr<Variant> variant = make_variant(config, kWidth, 1'000'000);
  SaeState state;
  fs::path folder = fs::temp_directory_path() / ("refract-bench-" + std::to_string(::getpid()));

  Saved() {
    std::uint64_t seed = 0;
    for (SaeParameters* part : {&state.parameters, &state.m, &state.v}) {
      *part = make_parameters({.d_sae = kFeatures, .d_in = kWidth, .d_out = kWidth});
      for (const auto& [name, tensor] : named_tensors(*part)) bench::fill(tensor.span(), ++seed);
    }
    state.age = Tensor<std::uint64_t>(Shape{kFeatures});
    make_folder(folder);
  }
  ~Saved() { fs::remove_all(folder); }
  [[nodiscard]] double state_bytes() const {
    return 3 * parameter_bytes() + 8 * static_cast<double>(kFeatures);
  }
  [[nodiscard]] double parameter_bytes() const {
    return 4.0 * (2 * kFeatures * kWidth + kFeatures + kWidth);
  }
  std::vector<WrittenFile> write() {
    TrainerMetadata metadata;
    return write_trainer_state(folder, state, metadata);
  }
  std::vector<WrittenFile> write_export(DType dtype) {
    return write_saelens_folder(folder, variant->export_for_saelens(state.parameters), dtype, {});
  }
};

// A checkpoint is written to files that were not there: to write over pages that are on their way
// to the disk would wait for them.
void clear(benchmark::State& state, const fs::path& folder) {
  state.PauseTiming();
  fs::remove_all(folder);
  make_folder(folder);
  state.ResumeTiming();
}

Saved& saved() {
  static Saved one;
  return one;
}

// What a start reads of a run of 40,000 chunks and two SAEs.
void start_reads_ledger(benchmark::State& state) {
  const fs::path path = saved().folder / "ledger.jsonl";
  constexpr std::uint64_t kChunks = 40'000;
  {
    std::ofstream file(path);
    file << fmt::format(R"({{"schema":"refract.ledger","version":{}}})", kSchemaVersion) << '\n';
    const std::string digest(64, 'd');
    for (std::uint64_t chunk = 0; chunk < kChunks; ++chunk) {
      file << fmt::format(R"({{"event":"planned","chunk":{},"rows":131072}})", chunk) << '\n'
           << fmt::format(
                  R"({{"event":"sealed","chunk":{},"rows":131072,"bytes":70000000,"digest":"{}"}})",
                  chunk, digest)
           << '\n';
      for (const char* sae : {"a", "b"})
        file << fmt::format(R"({{"event":"checkpointed","visit":{},"sae":"{}","steps_in_visit":0,)"
                            R"("complete":true,"folder":"chunk-{:06}","store":"{}","weights":"{}",)"
                            R"("state":"{}"}})",
                            chunk, sae, chunk, digest, digest, digest)
             << '\n';
      file << fmt::format(R"({{"event":"evicted","chunk":{}}})", chunk) << '\n';
    }
  }
  for (auto _ : state)
    if (read_ledger(path).visits_done({"a", "b"}) != kChunks)
      state.SkipWithError("not what was written");
  bench::report(state, 5.0 * kChunks, 0, static_cast<double>(fs::file_size(path)));
}

void checkpoint_state_unsynced(benchmark::State& state) {
  for (auto _ : state) {
    clear(state, saved().folder);
    benchmark::DoNotOptimize(saved().write());
  }
  bench::report(state, 0, 0, saved().state_bytes());
}
void checkpoint_weights_digest(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(weights_digest(saved().state.parameters));
  bench::report(state, 0, 0, saved().parameter_bytes());
}
void checkpoint_export(benchmark::State& state, DType dtype) {
  for (auto _ : state) {
    clear(state, saved().folder);
    benchmark::DoNotOptimize(saved().write_export(dtype));
  }
  bench::report(state, 0, 0, saved().parameter_bytes() / 4 * static_cast<double>(byte_size(dtype)));
}
void checkpoint_settle(benchmark::State& state) {
  for (auto _ : state) {
    clear(state, saved().folder);
    state.PauseTiming();
    const std::vector<WrittenFile> files = saved().write();
    state.ResumeTiming();
    for (const WrittenFile& file : files) settle(file);
  }
  bench::report(state, 0, 0, saved().state_bytes());
}

// The roofs.
void roof_copy(benchmark::State& state) {
  const auto from = saved().state.parameters.W_enc.span();
  std::vector<float> to(from.size());
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), from.size_bytes());
    benchmark::ClobberMemory();
  }
  bench::report(state, 0, 0, 2 * static_cast<double>(from.size_bytes()));
}
void roof_sha256_all_threads(benchmark::State& state) {
  const auto bytes = std::as_bytes(saved().state.parameters.W_enc.span());
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  for (auto _ : state)
    parallel_for(bytes.size() / kPiece, [&](std::size_t piece) {
      Sha256 sha;
      sha.add(bytes.subspan(piece * kPiece, kPiece));
      benchmark::DoNotOptimize(sha.hex());
    });
  bench::report(state, 0, 0, static_cast<double>(bytes.size()));
}
void roof_xxh3(benchmark::State& state) {
  const auto bytes = std::as_bytes(saved().state.parameters.W_enc.span());
  for (auto _ : state) benchmark::DoNotOptimize(xxh3(bytes));
  bench::report(state, 0, 0, static_cast<double>(bytes.size()));
}
// The bytes of a state, in writes of 256 KiB: into the system's pages, and on to the disk.
void roof_plain_file(benchmark::State& state, bool synced) {
  const auto bytes = std::as_bytes(saved().state.parameters.W_enc.span());
  const fs::path path = saved().folder / "plain";
  for (auto _ : state) {
    clear(state, saved().folder);
    FILE* file = std::fopen(path.c_str(), "wb");
    std::setvbuf(file, nullptr, _IONBF, 0);
    constexpr std::size_t kPiece = std::size_t{256} << 10;
    for (int part = 0; part < 6; ++part)
      for (std::size_t at = 0; at < bytes.size(); at += kPiece)
        (void)!std::fwrite(bytes.data() + at, 1, kPiece, file);
    if (synced) ::fsync(::fileno(file));
    std::fclose(file);
  }
  bench::report(state, 0, 0, 6 * static_cast<double>(bytes.size()));
}

BENCHMARK(roof_copy)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(roof_sha256_all_threads)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(roof_xxh3)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(roof_plain_file, unsynced, false)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(roof_plain_file, synced, true)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(checkpoint_weights_digest)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(checkpoint_state_unsynced)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(checkpoint_export, bf16, DType::bf16)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(checkpoint_export, fp32, DType::f32)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK(start_reads_ledger)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(checkpoint_settle)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace refract
