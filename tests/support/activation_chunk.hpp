#pragma once
// A small chunk of activations of one hook, as a stage reads it.
#include <filesystem>
#include <vector>

#include "refract/store/chunk.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract::test {

// Row i is x's, of document i / 10, excluded (as BOS) where excluded[i] != 0.
inline void write_activation_chunk(const std::filesystem::path& path, const std::string& hook,
                                   const Tensor<float>& x,
                                   const std::vector<std::uint8_t>& excluded,
                                   std::uint64_t block_rows) {
  ChunkSpec spec;
  spec.rows = x.axis(0);
  spec.block_rows = block_rows;
  spec.hooks = {{hook, x.axis(1)}};
  Communicator one = Communicator::loopback();
  ChunkWriter writer = ChunkWriter::collective_open(path, spec, one);
  for (std::uint64_t block = 0; block < spec.blocks(); ++block) {
    const std::size_t first = block * block_rows, rows = spec.rows_of_block(block);
    RowIdentity identity;
    identity.resize(rows);
    for (std::size_t i = 0; i < rows; ++i) {
      identity.context[i] = (first + i) / 20;
      identity.position[i] = static_cast<std::uint32_t>((first + i) % 20);
      identity.token[i] = 1;
      identity.document[i] = (first + i) / 10;
      identity.document_position[i] = static_cast<std::uint32_t>((first + i) % 10);
      identity.excluded[i] = excluded[first + i] != 0 ? std::uint8_t{kExcludedBos} : std::uint8_t{};
    }
    const std::vector<std::uint8_t> sinks(rows, 0);
    const HookRows hook_rows{x.cview().rows(first, rows).span(), sinks};
    (void)writer.write_block(block, identity, {&hook_rows, 1});
  }
  (void)writer.collective_seal();
}

}  // namespace refract::test
