#pragma once
// A small heldout.h5 of one hook, from rows that a test made.
#include <filesystem>

#include "refract/store/chunk.hpp"

namespace refract::test {

struct HeldoutRows {
  static constexpr const char* kHook = "blocks.0.hook_resid_post";

  RowIdentity identity;
  std::vector<float> x;  // [n, D]
  std::vector<std::uint8_t> sinks;

  void add(std::uint64_t document, std::uint32_t position, std::uint32_t document_position,
           std::uint32_t token, std::uint8_t excluded, bool sink, std::span<const float> row) {
    identity.context.push_back(document);
    identity.position.push_back(position);
    identity.token.push_back(token);
    identity.document.push_back(document);
    identity.document_position.push_back(document_position);
    identity.excluded.push_back(excluded);
    sinks.push_back(sink ? kExcludedSink : 0);
    x.insert(x.end(), row.begin(), row.end());
  }

  void write(const std::filesystem::path& path) const {
    ChunkSpec spec;
    spec.permuted = false;
    spec.rows = identity.size();
    spec.block_rows = 1000;
    const std::size_t d = x.size() / identity.size();
    spec.hooks = {{kHook, d}};
    Communicator alone = Communicator::loopback();
    ChunkWriter writer = ChunkWriter::collective_open(path, spec, alone);
    for (std::uint64_t block = 0; block < spec.blocks(); ++block) {
      const std::size_t first = block * spec.block_rows, n = spec.rows_of_block(block);
      const HookRows rows{std::span(x).subspan(first * d, n * d),
                          std::span(sinks).subspan(first, n)};
      writer.write_block(block, identity.rows(first, n), {&rows, 1});
    }
    (void)writer.collective_seal();
  }
};

}  // namespace refract::test
