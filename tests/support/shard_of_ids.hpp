#pragma once
// A token shard of documents that are ids alone: what a test needs that looks at no text.
#include <cstdint>
#include <vector>

#include "refract/store/token_shard.hpp"

namespace refract::test {

// Document d has key d and page d + 1.
inline TokenShardData shard_of_ids(std::uint32_t vocabulary,
                                   const std::vector<std::vector<std::uint32_t>>& documents) {
  TokenShardData shard;
  shard.vocabulary = vocabulary;
  shard.keep_text = false;
  for (const std::vector<std::uint32_t>& ids : documents) {
    shard.document_key.push_back(shard.documents());
    shard.page_id.push_back(shard.documents() + 1);
    shard.revision.push_back(1);
    shard.ids.insert(shard.ids.end(), ids.begin(), ids.end());
    shard.document_token_starts.push_back(shard.ids.size());
    for (auto* strings : {&shard.title, &shard.url, &shard.links, &shard.text})
      strings->emplace_back();
  }
  shard.token_begin.assign(shard.ids.size(), 0);
  shard.token_end.assign(shard.ids.size(), 0);
  return shard;
}

}  // namespace refract::test
