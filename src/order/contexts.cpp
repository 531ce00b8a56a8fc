#include "refract/order/contexts.hpp"

#include <algorithm>
#include <iterator>

#include "refract/base/error.hpp"
#include "refract/base/newest.hpp"

namespace refract {

Packing packing_from(const std::string& text) {
  if (text == "packed") return Packing::packed;
  if (text == "concat") return Packing::concat;
  if (text == "document") return Packing::document;
  throw ConfigError("tokens.packing is '{}'; allowed: packed, concat, document", text);
}

BosRule bos_rule_from(const std::string& text) {
  if (text == "document_start") return BosRule::document_start;
  if (text == "each_context") return BosRule::each_context;
  if (text == "none") return BosRule::none;
  throw ConfigError("tokens.bos is '{}'; allowed: document_start, each_context, none", text);
}

bool SeenDocuments::contains(std::uint64_t key) const {
  return std::ranges::any_of(
      runs_, [key](const auto& run) { return std::ranges::binary_search(run, key); });
}

void SeenDocuments::add(std::vector<std::uint64_t> keys) {
  std::ranges::sort(keys);
  runs_.push_back(std::move(keys));
  while (runs_.size() > 1 && runs_[runs_.size() - 2].size() <= 2 * runs_.back().size()) {
    std::vector<std::uint64_t> both;
    both.reserve(runs_.back().size() + runs_[runs_.size() - 2].size());
    std::ranges::set_union(runs_.back(), runs_[runs_.size() - 2], std::back_inserter(both));
    runs_.pop_back();
    runs_.back() = std::move(both);
  }
}

std::uint64_t SeenDocuments::size() const {
  std::uint64_t keys = 0;
  for (const auto& run : runs_) keys += run.size();
  return keys;
}

std::vector<std::uint8_t> keep_documents(std::span<const std::uint64_t> keys,
                                         std::span<const std::uint64_t> revisions,
                                         const SeenDocuments& seen) {
  std::vector<std::uint8_t> keep = keep_newest(keys, revisions);
  for (std::size_t d = 0; d < keys.size(); ++d)
    if (seen.contains(keys[d])) keep[d] = 0;
  return keep;
}

namespace {

// Fills contexts of one kind (training or held-out) slot by slot.
class ContextFiller {
 public:
  ContextFiller(const ContextRule& rule, bool heldout, ContextTableData& table)
      : rule_(rule), heldout_(heldout), table_(table) {}

  void add(std::uint32_t document, std::uint64_t tokens) {
    std::uint64_t offset = 0;
    bool bos = rule_.bos != BosRule::none;
    while (offset < tokens || bos) {
      if (slot_ == 0 && rule_.bos == BosRule::each_context) bos = true;
      const std::uint32_t room = rule_.length - slot_;
      const std::uint32_t lead = bos ? 1 : 0;
      const auto taken =
          static_cast<std::uint32_t>(std::min<std::uint64_t>(room - lead, tokens - offset));
      table_.segments.push_back({.slot = slot_,
                                 .document = document,
                                 .token_offset = static_cast<std::uint32_t>(offset),
                                 .length = taken + lead,
                                 .bos = static_cast<std::uint8_t>(bos)});
      offset += taken;
      slot_ += taken + lead;
      bos = false;
      if (slot_ == rule_.length) close();
    }
    if (rule_.packing == Packing::document) close();
  }

  void close() {
    if (slot_ == 0) return;
    table_.segment_starts.push_back(table_.segments.size());
    table_.heldout.push_back(heldout_ ? 1 : 0);
    slot_ = 0;
  }

 private:
  const ContextRule& rule_;
  bool heldout_;
  ContextTableData& table_;
  std::uint32_t slot_ = 0;
};

const char* text_of(Packing packing) {
  return packing == Packing::packed ? "packed" : packing == Packing::concat ? "concat" : "document";
}
const char* text_of(BosRule bos) {
  return bos == BosRule::none           ? "none"
         : bos == BosRule::each_context ? "each_context"
                                        : "document_start";
}

}  // namespace

ContextTableData build_contexts(const ContextRule& rule,
                                std::span<const std::uint64_t> document_token_starts,
                                std::span<const std::uint8_t> keep,
                                std::span<const std::uint8_t> heldout) {
  ContextTableData table;
  table.format = {.length = rule.length,
                  .packing = text_of(rule.packing),
                  .bos = text_of(rule.bos),
                  .bos_id = rule.bos_id};
  for (const bool wanted : {false, true}) {
    ContextFiller filler(rule, wanted, table);
    for (std::size_t d = 0; d < keep.size(); ++d)
      if (keep[d] && (heldout[d] != 0) == wanted)
        filler.add(static_cast<std::uint32_t>(d),
                   document_token_starts[d + 1] - document_token_starts[d]);
    filler.close();
  }
  return table;
}

ContextInput context_input(const ContextFormat& format, std::span<const Segment> segments,
                           std::uint64_t key, std::span<const std::uint32_t> tokens,
                           std::span<const std::uint8_t> special) {
  ContextInput input;
  const std::uint64_t shard = key & ~std::uint64_t{0xFFFFFFFF};
  const bool concat = format.packing == "concat";
  input.slots.resize(format.length);
  for (std::uint32_t slot = 0; slot < format.length; ++slot) {
    input.slots.context[slot] = key;
    input.slots.position[slot] = slot;
    input.slots.token[slot] = format.bos_id;
    input.slots.document[slot] = kNoDocument;
    input.slots.document_position[slot] = kNoDocumentPosition;
    input.slots.excluded[slot] = kExcludedPad;
  }
  for (const Segment& segment : segments) {
    if (!concat || input.ids.empty())
      input.segment_starts.push_back(static_cast<std::uint32_t>(input.ids.size()));
    for (std::uint32_t i = 0; i < segment.length; ++i) {
      const std::uint32_t slot = segment.slot + i;
      const bool bos = segment.bos && i == 0;
      const std::uint32_t id = bos ? format.bos_id : tokens.front();
      if (!bos) tokens = tokens.subspan(1);
      input.ids.push_back(id);
      input.positions.push_back(concat ? slot : i);
      input.slots.token[slot] = id;
      input.slots.document[slot] = shard | segment.document;
      if (!bos) input.slots.document_position[slot] = segment.token_offset + i - segment.bos;
      input.slots.excluded[slot] = bos                                  ? kExcludedBos
                                   : id < special.size() && special[id] ? kExcludedSpecial
                                                                        : 0;
    }
  }
  input.segment_starts.push_back(static_cast<std::uint32_t>(input.ids.size()));
  return input;
}

}  // namespace refract
