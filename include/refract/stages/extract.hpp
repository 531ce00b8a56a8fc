#pragma once
// Stage extract: blocks of contexts through the model into one activation file. Every file of rows
// (chunks, held-out rows) is written by this loop.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "refract/comm/communicator.hpp"
#include "refract/stages/block_rows.hpp"
#include "refract/store/chunk.hpp"

namespace refract {

struct ExtractHooks {
  // After each of this rank's blocks, found or computed: with the rows that all ranks together have
  // done meanwhile, if they keep step.
  std::function<void(std::uint64_t rows)> after_block = {};
  std::function<void()> before_seal = {};  // on rank 0; throws when the file is not ours any more
};

struct Extraction {
  std::string digest;    // of the sealed file; empty when stopped
  bool made = false;     // any rank computed a block
  bool stopped = false;  // a stop was asked for on any rank; whole blocks are kept on disk
};

// Collective over `ranks`. Writes the file of `spec` under `path`: each rank its contiguous share
// of the blocks, but for those that an earlier attempt left whole. plan_of(block) gives a block's
// plan. Bytes do not depend on the number of ranks. A stop is looked for after each block.
[[nodiscard]] Extraction collective_extract(const std::filesystem::path& path,
                                            const ChunkSpec& spec,
                                            const std::function<BlockPlan(std::uint64_t)>& plan_of,
                                            BlockComputer& computer, const ExtractHooks& hooks,
                                            Communicator& ranks);

}  // namespace refract
