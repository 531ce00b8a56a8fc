// All of Wikipedia as context tables (7 M documents, 5 G tokens): what world rank 0 does once, what
// a rank does when it starts, and what it does for a chunk.
#include <unistd.h>

#include <filesystem>

#include "bench/support.hpp"
#include "refract/stages/block_rows.hpp"
#include "refract/stages/calibrate.hpp"
#include "support/wikipedia_sized.hpp"

namespace refract {
namespace {

constexpr OrderRule kRule{
    .store_seed = 1, .data_seed = 1, .chunk_rows = 131072, .block_rows = 1024, .batch_rows = 4096};
constexpr int kRanks = 64, kRank = 37;

class Scratch {
 public:
  ~Scratch() { std::filesystem::remove_all(folder); }
  const std::filesystem::path folder = std::filesystem::temp_directory_path() /
                                       ("refract-bench-order-" + std::to_string(::getpid()));
};

// Made once, for all that follows.
const test::WikipediaSized& whole_corpus() {
  static const Scratch scratch;
  static const test::WikipediaSized corpus = [] {
    test::WikipediaSized made(scratch.folder, {});
    for (std::uint32_t shard = 0; shard < made.size().shards; ++shard) made.admit(shard);
    return made;
  }();
  return corpus;
}

void admit_all_shards(benchmark::State& state) {
  for (auto _ : state) {
    const Scratch scratch;
    test::WikipediaSized made(scratch.folder / "again", {});
    for (std::uint32_t shard = 0; shard < made.size().shards; ++shard) made.admit(shard);
  }
  state.SetLabel("41 context tables and 6 windows, written and synced, by world rank 0");
}
BENCHMARK(admit_all_shards)->Unit(benchmark::kSecond)->UseRealTime()->Iterations(1);

void start_of_a_rank(benchmark::State& state) {
  const test::WikipediaSized& made = whole_corpus();
  for (auto _ : state) {
    const SampleOrder order = made.sample_order(kRule);
    TokenCorpus corpus = made.corpus();
    benchmark::DoNotOptimize(plan_heldout({}, corpus, 8, RowRule{}, 1, kRule.block_rows));
    benchmark::DoNotOptimize(plan_calibration({}, corpus, 8, RowRule{}, 1));
    benchmark::DoNotOptimize(order.chunks());
  }
  state.SetLabel("order, held-out rows and calibration planned");
}
BENCHMARK(start_of_a_rank)->Unit(benchmark::kMillisecond)->UseRealTime();

// Argument: the chunk, in thousandths of the run.
void plan_a_chunk(benchmark::State& state) {
  const test::WikipediaSized& made = whole_corpus();
  const SampleOrder order = made.sample_order(kRule);
  TokenCorpus corpus = made.corpus();
  const ChunkShape shape =
      order.chunk_shape((order.chunks() - 2) * static_cast<std::uint64_t>(state.range(0)) / 1000);
  const Share blocks = share_of(kRule.blocks(), kRank, kRanks);
  for (auto _ : state)
    for (std::uint64_t b = blocks.first; b < blocks.first + blocks.count; ++b) {
      benchmark::DoNotOptimize(plan_block(order, shape, b, corpus, RowRule{}));
      benchmark::DoNotOptimize(order.slice_order(shape, b, 0));
    }
  state.SetLabel("blocks and batches of rank 37 of 64");
}
BENCHMARK(plan_a_chunk)->Arg(0)->Arg(500)->Arg(1000)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
}  // namespace refract
