#pragma once
// Held-out rows: whole documents of the first window, chosen by a hash, frozen before the first
// step, never trained on and never evicted (SPEC 3).
#include <cstdint>
#include <string>
#include <vector>

#include "refract/stages/block_rows.hpp"

namespace refract {

struct HeldoutConfig {
  double share = 0.02;                   // of all documents
  std::uint64_t rows = 65536;            // stored rows, at most
  std::uint64_t max_tokens = 1'000'000;  // run through the model, at most
};

// Membership of a document, for the whole corpus.
[[nodiscard]] bool is_heldout(std::uint64_t document_key, double share);

struct HeldoutPlan {
  std::vector<BlockPlan> blocks;  // block_rows rows each, the last shorter
  std::uint64_t rows = 0, documents = 0;
  std::uint64_t unused_documents = 0;  // held out in this window, but beyond the limit reached
  std::string limit;  // "heldout.rows" or "heldout.max_tokens"; empty: all were used
};
// Memory: 24 bytes per held-out document of the window, and the plan. Documents of shards [0,
// window_shards), each whole, chosen in the order of their hash; rows in
// corpus order.
[[nodiscard]] HeldoutPlan plan_heldout(const HeldoutConfig& config, TokenCorpus& corpus,
                                       std::uint32_t window_shards, const RowRule& rule,
                                       std::uint64_t store_seed, std::uint64_t block_rows);

}  // namespace refract
