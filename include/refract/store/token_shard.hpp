#pragma once
// One corpus shard as token ids, with everything that leads back to the text: schema token-shard,
// SPEC 1.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "refract/store/artifact.hpp"
#include "refract/store/claim.hpp"
#include "refract/store/table_file.hpp"

namespace refract {

// ids holds no BOS: contexts decide where one stands. Byte spans are in the document's cleaned
// text.
struct TokenShardData {
  std::uint32_t shard = 0;       // ordinal in the corpus
  std::uint32_t vocabulary = 0;  // ids are stored as u16 up to 65536, else u32
  std::vector<std::uint32_t> ids, token_begin, token_end;  // [tokens]
  std::vector<std::uint64_t> document_token_starts = {0};  // [documents + 1]
  std::vector<std::uint64_t> document_key;       // [documents] decides held-out membership (SPEC 3)
  std::vector<std::uint64_t> page_id, revision;  // [documents]; revision 0 = unknown
  std::vector<std::string> title, url, links, text;  // [documents]; links joined by newlines
  bool keep_text = true;
  [[nodiscard]] std::size_t documents() const { return page_id.size(); }
};

// A whole document out of a shard.
struct DocumentTokens {
  std::vector<std::uint32_t> ids, begin, end;
};

// Written whole under its final name, while the claim is the caller's; returns the content digest.
std::string write_token_shard(const std::filesystem::path& path, const TokenShardData& data,
                              const Parents& parents, const ClaimMark& claim = {});

// Read by slice: it holds its header and the frame of text (64 documents) last read.
class TokenShard {
 public:
  // Not checked as a whole unless asked: the stage that tokenizes does that.
  explicit TokenShard(const std::filesystem::path& path, const Parents& expected = {},
                      TableFile::Checks checks = TableFile::Checks::none);
  TokenShard(const std::filesystem::path& path, const Parents& expected, FileDigests& seen,
             const std::function<void()>& tick = {});
  ~TokenShard();
  TokenShard(TokenShard&&) noexcept;
  TokenShard& operator=(TokenShard&&) noexcept;

  [[nodiscard]] const std::filesystem::path& path() const;
  [[nodiscard]] const ArtifactHeader& header() const;
  [[nodiscard]] std::string content_digest() const;
  [[nodiscard]] std::uint32_t shard() const;
  [[nodiscard]] std::uint32_t vocabulary() const;
  [[nodiscard]] std::uint64_t tokens() const;
  [[nodiscard]] std::uint64_t documents() const;
  [[nodiscard]] bool has_text() const;

  // Appends ids [first, first + count) to `to`; any thread.
  void append_ids(std::uint64_t first, std::uint64_t count, std::vector<std::uint32_t>& to) const;
  // Where documents [first, first + count) start, and where the last ends: [count + 1].
  [[nodiscard]] std::vector<std::uint64_t> document_token_starts(std::uint64_t first,
                                                                 std::uint64_t count) const;
  [[nodiscard]] std::vector<std::uint64_t> document_token_starts() const {
    return document_token_starts(0, documents());
  }
  [[nodiscard]] std::vector<std::uint64_t> document_keys() const;  // [documents]
  [[nodiscard]] std::vector<std::uint64_t> revisions() const;      // [documents]
  [[nodiscard]] std::uint64_t document_key(std::uint64_t document) const;
  [[nodiscard]] std::uint64_t page_id(std::uint64_t document) const;
  [[nodiscard]] std::string title(std::uint64_t document) const;
  [[nodiscard]] std::string url(std::uint64_t document) const;
  [[nodiscard]] std::string links(std::uint64_t document) const;
  [[nodiscard]] DocumentTokens document_tokens(std::uint64_t document) const;
  [[nodiscard]] std::string document_text(std::uint64_t document) const;  // DataError without text
  // Damaged when any byte is not what was written; ticks as TableFile does.
  void verify_content(const std::function<void()>& tick = {}) const;

 private:
  struct Open;
  explicit TokenShard(TableFile file);
  void expect_document(std::uint64_t document) const;
  std::unique_ptr<Open> open_;
};

}  // namespace refract
