#include "refract/stages/token_corpus.hpp"

#include <algorithm>
#include <utility>

namespace refract {
namespace {

// The item called `key`, opened when it is not among the last used.
template <typename Item, typename OpenItem>
Item& recent(std::list<std::pair<std::uint64_t, Item>>& items, std::uint64_t key, std::size_t limit,
             OpenItem&& open) {
  const auto found = std::ranges::find(items, key, [](const auto& item) { return item.first; });
  if (found != items.end()) {
    items.splice(items.begin(), items, found);
    return items.front().second;
  }
  items.emplace_front(key, open());
  if (items.size() > limit) items.pop_back();
  return items.front().second;
}

// The tokens of the segments, in one read where documents follow each other.
std::vector<std::uint32_t> tokens_of(const TokenShard& shard, std::span<const Segment> segments) {
  std::vector<std::uint32_t> tokens;
  std::uint64_t first = 0, end = 0;
  for (const Segment& segment : segments) {
    const std::uint64_t start =
        shard.document_token_starts(segment.document, 1).front() + segment.token_offset;
    if (start != end) {
      shard.append_ids(first, end - first, tokens);
      first = start;
    }
    end = start + segment.length - segment.bos;
  }
  shard.append_ids(first, end - first, tokens);
  return tokens;
}

}  // namespace

TokenCorpus::TokenCorpus(std::vector<std::uint8_t> special_ids, std::size_t open_files)
    : special_(std::move(special_ids)), open_limit_(std::max<std::size_t>(1, open_files)) {}

const ContextTable& TokenCorpus::contexts(std::uint32_t shard) {
  return recent(open_contexts_, shard, open_limit_,
                [&] { return ContextTable(shards_.at(shard).contexts); });
}

const TokenShard& TokenCorpus::tokens(std::uint32_t shard) {
  return recent(open_tokens_, shard, open_limit_,
                [&] { return TokenShard(shards_.at(shard).tokens); });
}

std::vector<ContextPart> TokenCorpus::parts(const WindowRange& rows) {
  return recent(open_windows_, rows.window, open_limit_,
                [&] { return Window(windows_.at(rows.window)); })
      .parts(rows.first, rows.count);
}

std::vector<std::uint32_t> TokenCorpus::slots(std::uint64_t key, const RowRule& rule,
                                              std::uint64_t store_seed) {
  const ContextTable& table = contexts(static_cast<std::uint32_t>(key >> 32));
  const std::vector<Segment> segments = rule.kind == RowRule::Kind::all
                                            ? std::vector<Segment>()
                                            : table.segments_of(key & 0xFFFFFFFFu);
  return select_slots(rule, table.format(), segments, key, store_seed);
}

ContextInput TokenCorpus::input(std::uint64_t key) {
  const auto shard = static_cast<std::uint32_t>(key >> 32);
  const ContextTable& table = contexts(shard);
  const std::vector<Segment> segments = table.segments_of(key & 0xFFFFFFFFu);
  return context_input(table.format(), segments, key, tokens_of(tokens(shard), segments), special_);
}

}  // namespace refract
