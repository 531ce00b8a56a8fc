#pragma once
// Held-out contexts joined into calls of the model.
#include <cstdint>
#include <vector>

#include "refract/comm/communicator.hpp"
#include "refract/comm/shared_stop.hpp"
#include "refract/lm/language_model.hpp"
#include "refract/stages/token_corpus.hpp"
#include "refract/store/chunk.hpp"

namespace refract {

struct ForwardBatch {
  std::vector<std::uint32_t> ids, positions, segment_starts{0};
  std::vector<std::uint8_t> excluded;    // [n]; not 0: the token takes part in nothing
  std::vector<std::uint64_t> documents;  // [n]
  [[nodiscard]] PackedTokens packed() const { return {ids, positions, segment_starts}; }
};

// Collective. The contexts of the held-out rows, in their order, until `tokens` would be exceeded;
// at least one. The same on every rank; corpus and heldout are read on rank 0 alone, since only
// there the table of the whole corpus is sure to be known. StopRequested as SharedStop.
[[nodiscard]] std::vector<ForwardBatch> collective_heldout_batches(TokenCorpus& corpus,
                                                                   const ChunkReader& heldout,
                                                                   std::uint64_t tokens,
                                                                   SharedStop& stop,
                                                                   Communicator& ranks);

}  // namespace refract
