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
  std::vector<std::string> faults;  // empty: everything agrees. Each begins with its file.

  void add(const VerifyResult& other);  // of another file or rank; faults in order of their text
};

struct VerifyRule {
  std::uint64_t recomputed_rows = 1000;  // of a file, at least, in whole blocks
  std::uint64_t seed = 1;                // chooses those blocks
};
// What one of `size` ranks does of a file; the ranks together do everything once.
struct VerifyShare {
  int rank = 0, size = 1;
};

// This share of: (a) the identity of every row against the plan; (b) every block checksum; (c) rows
// recomputed and compared byte for byte. plan_of(block) gives a block's plan. Appends to `result`.
// A stop point at each block.
void verify_chunk(const ChunkReader& chunk, const std::function<BlockPlan(std::uint64_t)>& plan_of,
                  TokenCorpus& corpus, BlockComputer& computer, const VerifyRule& rule,
                  VerifyShare share, VerifyResult& result);

}  // namespace refract
