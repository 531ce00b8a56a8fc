#include "refract/stages/heldout.hpp"

#include <algorithm>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "refract/base/activity.hpp"

namespace refract {
namespace {

// A held-out document of the window, and how much of it there is. Its contexts follow each other.
struct HeldoutDocument {
  std::uint64_t key = 0, document = 0;  // hash; shard << 32 | document
  std::uint32_t rows = 0;
  std::uint32_t first_context = 0, last_context = 0;  // with rows of it
};

// use(context, segment, slots): for each segment of contexts [first, end) of a shard, with those of
// its context's selected slots that lie in it.
template <typename Use>
void for_each_segment(const ContextTable& table, std::uint32_t shard, std::uint64_t first,
                      std::uint64_t end, const RowRule& rule, std::uint64_t store_seed, Use&& use) {
  constexpr std::uint64_t kContextsAtATime = 1024;
  for (; first < end; first += kContextsAtATime) {
    const ContextTableData some = table.read(first, std::min(kContextsAtATime, end - first));
    for (std::size_t c = 0; c < some.contexts(); ++c) {
      const std::vector<std::uint32_t> slots = select_slots(
          rule, some.format, some.of_context(c), context_key(shard, first + c), store_seed);
      for (const Segment& segment : some.of_context(c)) {
        const auto begin = std::ranges::lower_bound(slots, segment.slot);
        const auto stop = std::ranges::lower_bound(slots, segment.slot + segment.length);
        use(static_cast<std::uint32_t>(first + c), segment, std::span(begin, stop));
      }
    }
    tick();
  }
}

// In the order of their hash.
std::vector<HeldoutDocument> heldout_documents(TokenCorpus& corpus, std::uint32_t window_shards,
                                               const RowRule& rule, std::uint64_t store_seed) {
  std::vector<HeldoutDocument> documents;
  for (std::uint32_t shard = 0; shard < std::min<std::size_t>(window_shards, corpus.shards());
       ++shard) {
    const ContextTable& table = corpus.contexts(shard);
    const std::size_t first = documents.size();
    for_each_segment(
        table, shard, table.training_contexts(), table.contexts(), rule, store_seed,
        [&](std::uint32_t context, const Segment& segment, std::span<const std::uint32_t> slots) {
          if (slots.empty()) return;
          const std::uint64_t id = std::uint64_t{shard} << 32 | segment.document;
          if (documents.size() == first || documents.back().document != id)
            documents.push_back({.document = id, .first_context = context});
          documents.back().rows += static_cast<std::uint32_t>(slots.size());
          documents.back().last_context = context;
        });
    for (std::size_t i = first; i < documents.size(); ++i)
      documents[i].key = corpus.tokens(shard).document_key(documents[i].document & 0xFFFFFFFFu);
  }
  std::ranges::sort(documents, {},
                    [](const HeldoutDocument& d) { return std::pair(d.key, d.document); });
  return documents;
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
  std::vector<HeldoutDocument> documents =
      heldout_documents(corpus, window_shards, rule, store_seed);
  for (const HeldoutDocument& document : documents) {
    for (std::uint32_t c = document.first_context; c <= document.last_context; ++c)
      contexts.insert(context_key(document.document >> 32, c));
    const std::uint64_t tokens = contexts.size() * corpus.contexts(0).format().length;
    if (plan.rows + document.rows > config.rows)
      plan.limit = "heldout.rows";
    else if (tokens > config.max_tokens)
      plan.limit = "heldout.max_tokens";
    if (!plan.limit.empty()) break;
    plan.rows += document.rows;
    ++plan.documents;
  }
  plan.unused_documents = documents.size() - plan.documents;
  // In corpus order, so that a context shared by several documents is run once and not once for
  // each.
  documents.resize(plan.documents);
  std::ranges::sort(documents, {}, &HeldoutDocument::document);
  BlockPlan block;
  std::unordered_map<std::uint64_t, std::uint32_t> index;  // of the block's contexts
  const auto end_block = [&] {
    if (!block.rows.empty()) plan.blocks.push_back(std::move(block));
    block = {};
    index.clear();
  };
  for (const HeldoutDocument& document : documents) {
    const auto shard = static_cast<std::uint32_t>(document.document >> 32);
    for_each_segment(
        corpus.contexts(shard), shard, document.first_context,
        std::uint64_t{document.last_context} + 1, rule, store_seed,
        [&](std::uint32_t context, const Segment& segment, std::span<const std::uint32_t> slots) {
          if (segment.document != (document.document & 0xFFFFFFFFu)) return;
          for (const std::uint32_t slot : slots) {
            const std::uint64_t key = context_key(shard, context);
            const auto [entry, fresh] =
                index.try_emplace(key, static_cast<std::uint32_t>(block.contexts.size()));
            if (fresh) block.contexts.push_back(key);
            block.rows.push_back({entry->second, slot});
            if (block.rows.size() == block_rows) end_block();
          }
        });
  }
  end_block();
  return plan;
}

}  // namespace refract
