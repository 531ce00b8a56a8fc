// Writing a chunk block by block, each synced, as extraction does; and the same bytes to a plain
// file.
#include <unistd.h>

#include <fstream>

#include "bench/support.hpp"
#include "refract/comm/communicator.hpp"
#include "refract/store/chunk.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {
namespace {

constexpr std::uint64_t kRows = 32768, kBlock = 1024, kWidth = 256;

std::filesystem::path scratch() {
  return std::filesystem::temp_directory_path() / ("refract-bench-" + std::to_string(::getpid()));
}

void write_chunk(benchmark::State& state) {
  const std::filesystem::path folder = scratch();
  std::filesystem::create_directories(folder);
  Communicator self = Communicator::loopback();
  Tensor<float> x(Shape{kBlock, kWidth});
  bench::fill(x.span(), 4);
  RowIdentity slots;
  slots.context.assign(kBlock, 1), slots.position.assign(kBlock, 2), slots.token.assign(kBlock, 3);
  slots.document.assign(kBlock, 4), slots.document_position.assign(kBlock, 5),
      slots.excluded.assign(kBlock, 0);
  const std::vector<std::uint8_t> sinks(kBlock, 0);
  const ChunkSpec spec{.chunk = 0,
                       .permuted = true,
                       .rows = kRows,
                       .block_rows = kBlock,
                       .dtype = DType::bf16,
                       .hooks = {{"blocks.0.hook_resid_post", kWidth}},
                       .stage = "bench",
                       .parents = {}};
  for (auto _ : state) {
    ChunkWriter writer = ChunkWriter::collective_open(folder / "chunk.h5", spec, self);
    for (std::uint64_t b = 0; b < kRows / kBlock; ++b) {
      const HookRows hook{x.span(), sinks};
      writer.write_block(b, slots, {&hook, 1});
    }
    (void)writer.collective_seal();
    std::filesystem::remove(folder / "chunk.h5");
  }
  std::filesystem::remove_all(folder);
  bench::report(state, kRows, 0, kRows * (kWidth * 2 + 31));
}
BENCHMARK(write_chunk)->Unit(benchmark::kMillisecond)->UseRealTime();

void write_plain_file(benchmark::State& state) {
  const std::filesystem::path folder = scratch();
  std::filesystem::create_directories(folder);
  const std::vector<char> block(kBlock * (kWidth * 2 + 31), 'x');
  for (auto _ : state) {
    std::ofstream file(folder / "plain", std::ios::binary);
    for (std::uint64_t b = 0; b < kRows / kBlock; ++b)
      file.write(block.data(), static_cast<std::streamsize>(block.size()));
    file.close();
    ::sync();
    std::filesystem::remove(folder / "plain");
  }
  std::filesystem::remove_all(folder);
  bench::report(state, kRows, 0, kRows * (kWidth * 2 + 31));
}
BENCHMARK(write_plain_file)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace refract
