#pragma once
// `probe --verify` (SPEC 7): proves that a row is what its identity says.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "refract/stages/block_rows.hpp"
#include "refract/store/chunk.hpp"

namespace refract {

struct VerifyResult {
  std::uint64_t identities = 0, blocks = 0, recomputed_rows = 0;
  std::vector<std::string> faults;  // empty: everything agrees
};

// (a) the identity of every row against the plan; (b) every block checksum; (c) at least `rows`
// rows recomputed in whole blocks and compared byte for byte. plan_of(block) gives a block's plan.
// Appends to `result`.
void verify_chunk(const ChunkReader& chunk, const std::function<BlockPlan(std::uint64_t)>& plan_of,
                  TokenCorpus& corpus, BlockComputer& computer, std::uint64_t rows,
                  std::uint64_t seed, VerifyResult& result);

}  // namespace refract
