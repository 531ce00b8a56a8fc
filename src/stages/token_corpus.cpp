#include "refract/stages/token_corpus.hpp"

#include <algorithm>
#include <utility>

namespace refract {

TokenCorpus::TokenCorpus(std::vector<std::uint8_t> special_ids, std::size_t open_shards)
    : special_(std::move(special_ids)), open_limit_(std::max<std::size_t>(1, open_shards)) {}

void TokenCorpus::add_shard(CorpusShard shard) { shards_.push_back(std::move(shard)); }

TokenCorpus::Open& TokenCorpus::open(std::uint32_t shard) {
  const auto found = std::find_if(recent_.begin(), recent_.end(),
                                  [&](const auto& entry) { return entry.first == shard; });
  if (found != recent_.end()) {
    recent_.splice(recent_.begin(), recent_, found);
    return recent_.front().second;
  }
  const CorpusShard& files = shards_.at(shard);
  recent_.emplace_front(shard, Open{TokenShard(files.tokens), read_contexts(files.contexts).data});
  if (recent_.size() > open_limit_) recent_.pop_back();
  return recent_.front().second;
}

ContextInput TokenCorpus::input(std::uint64_t key) {
  const auto shard = static_cast<std::uint32_t>(key >> 32);
  Open& entry = open(shard);
  return context_input(entry.contexts, key & 0xFFFFFFFFu, entry.tokens.ids(),
                       entry.tokens.document_token_starts(), shard, special_);
}

}  // namespace refract
