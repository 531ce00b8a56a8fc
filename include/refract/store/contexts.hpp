#pragma once
// Which tokens of a shard form which context: schema context-table, SPEC 1. With the token shard
// and a row's identity it gives back the exact model input.
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "refract/store/artifact.hpp"
#include "refract/store/claim.hpp"
#include "refract/store/table_file.hpp"

namespace refract {

// A run of one document's tokens inside a context.
struct Segment {
  std::uint32_t slot = 0;          // where in the context it starts (its BOS, when it has one)
  std::uint32_t document = 0;      // in this shard
  std::uint32_t token_offset = 0;  // first token, counted in the document
  std::uint32_t length = 0;        // slots, BOS included
  std::uint8_t bos = 0;            // 1: the first slot is BOS
  friend bool operator==(const Segment&, const Segment&) = default;
};

// What all contexts of a corpus have in common.
struct ContextFormat {
  std::uint32_t length = 0;  // T, slots
  std::string packing;       // "packed", "concat", "document"
  std::string bos;           // "document_start", "each_context", "none"
  std::uint32_t bos_id = 0;  // the id in BOS slots and between documents
};

// Contexts in memory: a whole table, or some contexts of one.
struct ContextTableData {
  ContextFormat format;
  std::vector<std::uint64_t> segment_starts = {0};  // [contexts + 1]
  std::vector<Segment> segments;
  std::vector<std::uint8_t> heldout;  // [contexts] 1: of held-out documents

  [[nodiscard]] std::size_t contexts() const { return heldout.size(); }
  [[nodiscard]] std::span<const Segment> of_context(std::size_t context) const {
    return std::span(segments).subspan(segment_starts[context],
                                       segment_starts[context + 1] - segment_starts[context]);
  }
};

// Written whole under its final name, while the claim is the caller's; returns the content digest.
// Contexts of training documents come first.
std::string write_contexts(const std::filesystem::path& path, const ContextTableData& data,
                           const Parents& parents, const ClaimMark& claim = {});

// One shard's table, read by slice: it holds no more than its header. Damaged when the file is not
// what was written (Checks as of TableFile) or a slice does not fit together; OtherSchema, or
// DataError for another parent.
class ContextTable {
 public:
  explicit ContextTable(const std::filesystem::path& path, const Parents& expected = {},
                        TableFile::Checks checks = TableFile::Checks::none);
  ContextTable(const std::filesystem::path& path, const Parents& expected, FileDigests& seen);

  [[nodiscard]] const ContextFormat& format() const { return format_; }
  [[nodiscard]] std::uint64_t contexts() const { return contexts_; }
  // The first so many contexts are of training documents, the others of held-out ones.
  [[nodiscard]] std::uint64_t training_contexts() const { return training_contexts_; }
  // Contexts [first, first + count), counted from 0 in what is returned.
  [[nodiscard]] ContextTableData read(std::uint64_t first, std::uint64_t count) const;
  [[nodiscard]] std::vector<Segment> segments_of(std::uint64_t context) const {
    return read(context, 1).segments;
  }
  [[nodiscard]] std::string content_digest() const { return file_.content_digest(); }

 private:
  explicit ContextTable(TableFile file);
  TableFile file_;
  ContextFormat format_;
  std::uint64_t contexts_ = 0, training_contexts_ = 0;
};

}  // namespace refract
