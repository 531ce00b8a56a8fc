#pragma once
// The tokenised corpus as the later stages see it: shards and windows by number, and from a
// context's key its rows and the exact model input. Everything is read by slice, when asked for: in
// memory are the headers of the files last used, whatever the size of the corpus.
#include <cstdint>
#include <filesystem>
#include <list>
#include <memory>
#include <utility>
#include <vector>

#include "refract/order/contexts.hpp"
#include "refract/order/row_rule.hpp"
#include "refract/order/sample_order.hpp"
#include "refract/store/contexts.hpp"
#include "refract/store/token_shard.hpp"
#include "refract/store/window.hpp"

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
  // open_files: of each kind, kept open.
  TokenCorpus(std::vector<std::uint8_t> special_ids, std::size_t open_files);

  void add_shard(CorpusShard shard) { shards_.push_back(std::move(shard)); }
  void add_window(std::filesystem::path file) { windows_.push_back(std::move(file)); }
  [[nodiscard]] std::size_t shards() const { return shards_.size(); }
  [[nodiscard]] const std::vector<CorpusShard>& files() const { return shards_; }
  // Until another is asked for.
  [[nodiscard]] const ContextTable& contexts(std::uint32_t shard);
  [[nodiscard]] const TokenShard& tokens(std::uint32_t shard);

  [[nodiscard]] std::vector<ContextPart> parts(const WindowRange& rows);
  // The selected slots of a context, by the row rule.
  [[nodiscard]] std::vector<std::uint32_t> slots(std::uint64_t key, const RowRule& rule,
                                                 std::uint64_t store_seed);
  [[nodiscard]] ContextInput input(std::uint64_t key);

 private:
  template <typename File>
  using Recent = std::list<std::pair<std::uint64_t, File>>;  // most recently used first

  std::vector<std::uint8_t> special_;
  std::size_t open_limit_;
  std::vector<CorpusShard> shards_;
  std::vector<std::filesystem::path> windows_;
  Recent<TokenShard> open_tokens_;
  Recent<ContextTable> open_contexts_;
  Recent<Window> open_windows_;
};

}  // namespace refract
