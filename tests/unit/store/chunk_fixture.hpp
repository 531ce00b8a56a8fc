#pragma once
// A small chunk whose every value is a function of its row, so that any reader can check any row.
#include <map>

#include "refract/store/chunk.hpp"

namespace refract::test {

inline ChunkSpec small_spec(DType dtype = DType::f32, std::uint64_t chunk = 17) {
  ChunkSpec spec;
  spec.chunk = chunk;
  spec.rows = 22;
  spec.block_rows = 5;  // four whole blocks and one of two rows
  spec.dtype = dtype;
  spec.hooks = {{"blocks.4.hook_resid_post", 3}, {"blocks.1.hook_mlp_out", 2}};
  spec.parents = {{"store", "0123456789abcdef"}};
  return spec;
}

inline float value_at(std::size_t hook, std::uint64_t row, std::uint64_t axis) {
  return (hook == 0 ? 1.0f : -1.0f) * (static_cast<float>(row) + static_cast<float>(axis) / 8.0f);
}

struct Block {
  RowIdentity identity;
  std::vector<std::vector<float>> activations;
  std::vector<std::vector<std::uint8_t>> excluded;
  [[nodiscard]] std::vector<HookRows> hooks() const {
    std::vector<HookRows> all;
    for (std::size_t i = 0; i < activations.size(); ++i)
      all.push_back({activations[i], excluded[i]});
    return all;
  }
};

inline Block block_of(const ChunkSpec& spec, std::uint64_t block) {
  Block made;
  made.activations.resize(spec.hooks.size());
  made.excluded.resize(spec.hooks.size());
  const std::uint64_t first = block * spec.block_rows;
  for (std::uint64_t row = first; row < first + spec.rows_of_block(block); ++row) {
    made.identity.context.push_back(std::uint64_t{2} << 32 | row / 4);
    made.identity.position.push_back(static_cast<std::uint32_t>(row % 4));
    made.identity.token.push_back(static_cast<std::uint32_t>(1000 + row));
    made.identity.document.push_back(std::uint64_t{2} << 32 | (100 + row / 7));
    made.identity.document_position.push_back(
        row % 7 == 0 ? kNoDocumentPosition : static_cast<std::uint32_t>(row % 7 - 1));
    made.identity.excluded.push_back(row % 7 == 0 ? kExcludedBos : 0);
    for (std::size_t hook = 0; hook < spec.hooks.size(); ++hook) {
      for (std::uint64_t axis = 0; axis < spec.hooks[hook].d_in; ++axis)
        made.activations[hook].push_back(value_at(hook, row, axis));
      made.excluded[hook].push_back(hook == 1 && row % 5 == 1 ? kExcludedSink : 0);
    }
  }
  return made;
}

inline void write_one(ChunkWriter& writer, std::uint64_t block) {
  const Block made = block_of(writer.spec(), block);
  writer.write_block(block, made.identity, made.hooks());
}

inline std::filesystem::path write_chunk(const std::filesystem::path& folder, std::uint64_t chunk,
                                         Communicator& communicator, DType dtype = DType::f32) {
  const std::filesystem::path path = folder / (chunk_name(chunk) + ".h5");
  ChunkWriter writer = ChunkWriter::collective_open(path, small_spec(dtype, chunk), communicator);
  for (std::uint64_t block = 0; block < writer.spec().blocks(); ++block) write_one(writer, block);
  writer.collective_seal();
  return path;
}

}  // namespace refract::test
