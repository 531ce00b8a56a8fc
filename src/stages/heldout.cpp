#include "refract/stages/heldout.hpp"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>

namespace refract {
namespace {

struct DocumentRows {
  std::uint64_t key = 0, document = 0;  // hash; shard << 32 | document
  struct Slot {
    std::uint64_t context;
    std::uint32_t slot;
  };
  std::vector<Slot> slots;
};

std::vector<DocumentRows> heldout_documents(TokenCorpus& corpus, std::uint32_t window_shards,
                                            const RowRule& rule, std::uint64_t store_seed) {
  std::map<std::uint64_t, DocumentRows> documents;
  for (std::uint32_t shard = 0; shard < std::min<std::size_t>(window_shards, corpus.shards());
       ++shard) {
    const ContextTableData& table = corpus.contexts(shard);
    const std::vector<std::uint64_t>& keys = corpus.tokens(shard).document_keys();
    for (std::uint32_t c = 0; c < table.contexts(); ++c) {
      if (!table.heldout[c]) continue;
      const std::uint64_t context = std::uint64_t{shard} << 32 | c;
      const std::vector<std::uint32_t> slots = select_slots(rule, table, c, context, store_seed);
      for (const Segment& segment : table.of_context(c))
        for (const std::uint32_t slot : slots) {
          if (slot < segment.slot || slot >= segment.slot + segment.length) continue;
          const std::uint64_t id = std::uint64_t{shard} << 32 | segment.document;
          DocumentRows& rows = documents[id];
          rows.key = keys[segment.document];
          rows.document = id;
          rows.slots.push_back({context, slot});
        }
    }
  }
  std::vector<DocumentRows> ordered;
  for (auto& [id, rows] : documents) ordered.push_back(std::move(rows));
  std::sort(ordered.begin(), ordered.end(), [](const DocumentRows& a, const DocumentRows& b) {
    return std::pair(a.key, a.document) < std::pair(b.key, b.document);
  });
  return ordered;
}

}  // namespace

bool is_heldout(std::uint64_t document_key, double share) {
  return static_cast<double>(document_key >> 11) * 0x1p-53 < share;
}

HeldoutPlan plan_heldout(const HeldoutConfig& config, TokenCorpus& corpus,
                         std::uint32_t window_shards, const RowRule& rule, std::uint64_t store_seed,
                         std::uint64_t block_rows) {
  HeldoutPlan plan;
  std::unordered_set<std::uint64_t> contexts;
  std::vector<DocumentRows> documents = heldout_documents(corpus, window_shards, rule, store_seed);
  for (const DocumentRows& document : documents) {
    for (const DocumentRows::Slot& slot : document.slots) contexts.insert(slot.context);
    const std::uint64_t tokens = contexts.size() * corpus.contexts(0).context_length;
    if (plan.rows + document.slots.size() > config.rows)
      plan.limit = "heldout.rows";
    else if (tokens > config.max_tokens)
      plan.limit = "heldout.max_tokens";
    if (!plan.limit.empty()) break;
    plan.rows += document.slots.size();
    ++plan.documents;
  }
  plan.unused_documents = documents.size() - plan.documents;
  // In corpus order, so that a context shared by several documents is run once and not once for
  // each.
  documents.resize(plan.documents);
  std::ranges::sort(documents, {}, &DocumentRows::document);
  std::vector<DocumentRows::Slot> rows;
  for (const DocumentRows& document : documents)
    rows.insert(rows.end(), document.slots.begin(), document.slots.end());
  for (std::size_t first = 0; first < rows.size(); first += block_rows) {
    BlockPlan block;
    std::unordered_map<std::uint64_t, std::uint32_t> index;
    for (std::size_t i = first; i < std::min<std::size_t>(rows.size(), first + block_rows); ++i) {
      const auto [entry, fresh] =
          index.try_emplace(rows[i].context, static_cast<std::uint32_t>(block.contexts.size()));
      if (fresh) block.contexts.push_back(rows[i].context);
      block.rows.push_back({entry->second, rows[i].slot});
    }
    plan.blocks.push_back(std::move(block));
  }
  return plan;
}

}  // namespace refract
