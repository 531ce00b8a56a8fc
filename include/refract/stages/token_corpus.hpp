#pragma once
// The tokenised corpus as the later stages see it: shards by ordinal, their context tables, and
// from a context's key the exact model input. Memory: only the shards last used stay open.
#include <cstdint>
#include <filesystem>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "refract/order/contexts.hpp"
#include "refract/order/sample_order.hpp"
#include "refract/store/token_shard.hpp"

namespace refract {

struct TokensConfig {
  std::uint32_t context = 256;         // slots, T
  std::string packing = "packed";      // packed | concat | document
  std::string bos = "document_start";  // document_start | each_context | none
  std::uint32_t window_shards = 8;     // shards whose contexts are permuted together
  bool keep_text = true;  // cleaned text in the token shards; probe shows ids without it
};

struct RowsConfig {
  std::string take = "all";  // all | last | nth_last: n | middle | random: n
  double sink_ratio = 10;    // sink = L2 norm above this multiple of the median norm
};

struct CorpusShard {
  std::filesystem::path tokens, contexts;
};

class TokenCorpus {
 public:
  TokenCorpus(std::vector<std::uint8_t> special_ids, std::size_t open_shards);

  void add_shard(CorpusShard shard);
  [[nodiscard]] std::size_t shards() const { return shards_.size(); }
  [[nodiscard]] const std::vector<CorpusShard>& files() const { return shards_; }
  [[nodiscard]] const ContextTableData& contexts(std::uint32_t shard) {
    return open(shard).contexts;
  }
  [[nodiscard]] const TokenShard& tokens(std::uint32_t shard) { return open(shard).tokens; }
  // key = shard << 32 | context
  [[nodiscard]] ContextInput input(std::uint64_t key);

 private:
  struct Open {
    TokenShard tokens;
    ContextTableData contexts;
  };
  Open& open(std::uint32_t shard);

  std::vector<std::uint8_t> special_;
  std::size_t open_limit_;
  std::vector<CorpusShard> shards_;
  std::list<std::pair<std::uint32_t, Open>> recent_;  // most recently used first
};

}  // namespace refract
