#pragma once
// How documents become contexts (SPEC 1), and how a context becomes model input. Pure functions of
// the token shard's tables, so every rank builds the same.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "refract/store/chunk.hpp"
#include "refract/store/contexts.hpp"

namespace refract {

enum class Packing { packed, concat, document };
enum class BosRule { document_start, each_context, none };
[[nodiscard]] Packing packing_from(const std::string& text);
[[nodiscard]] BosRule bos_rule_from(const std::string& text);

struct ContextRule {
  std::uint32_t length = 256;  // T, slots
  Packing packing = Packing::packed;
  BosRule bos = BosRule::document_start;
  std::uint32_t bos_id = 0;
};

// The keys of all documents so far: 8 bytes each, in sorted runs of which each is more than twice
// as long as the next, so that adding n keys one shard after the other costs n log n.
class SeenDocuments {
 public:
  [[nodiscard]] bool contains(std::uint64_t key) const;
  void add(std::vector<std::uint64_t> keys);
  [[nodiscard]] std::uint64_t size() const;

 private:
  std::vector<std::vector<std::uint64_t>> runs_;
};

// Which documents of a shard are left after duplicates are removed: within the shard the highest
// revision wins (ties: the first), across shards the lowest shard. `keys` are document keys: of
// (project, page id), or of the text. `seen` holds the keys of the shards before.
[[nodiscard]] std::vector<std::uint8_t> keep_documents(std::span<const std::uint64_t> keys,
                                                       std::span<const std::uint64_t> revisions,
                                                       const SeenDocuments& seen);

// One shard's contexts: first those of training documents, in document order, then those of
// held-out ones. No context mixes the two; the last of each kind is padded.
[[nodiscard]] ContextTableData build_contexts(const ContextRule& rule,
                                              std::span<const std::uint64_t> document_token_starts,
                                              std::span<const std::uint8_t> keep,
                                              std::span<const std::uint8_t> heldout);

// The model input of one context and the identity of each of its T slots.
struct ContextInput {
  std::vector<std::uint32_t> ids, positions;  // [slots without padding]
  std::vector<std::uint32_t>
      segment_starts;  // attention segments: documents (packed, document), or one (concat)
  RowIdentity slots;   // [T], padding included
};
// tokens: those of the segments, one after the other, without BOS. key: context_key (row_rule.hpp).
// special[id] != 0 marks special tokens.
[[nodiscard]] ContextInput context_input(const ContextFormat& format,
                                         std::span<const Segment> segments, std::uint64_t key,
                                         std::span<const std::uint32_t> tokens,
                                         std::span<const std::uint8_t> special);

}  // namespace refract
