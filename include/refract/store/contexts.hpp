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

struct ContextTableData {
  std::uint32_t context_length = 0;
  std::string packing;                              // "packed", "concat", "document"
  std::string bos;                                  // "document_start", "each_context", "none"
  std::uint32_t bos_id = 0;                         // the id in BOS slots and between documents
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
std::string write_contexts(const std::filesystem::path& path, const ContextTableData& data,
                           const Parents& parents, const ClaimMark& claim = {});

struct ContextTable {
  ContextTableData data;
  ArtifactHeader header;
  std::string content_digest;
};
// Reads and verifies it whole. Damaged when any byte is not what was written: who has the token
// shard makes it again; OtherSchema, or DataError for another parent.
[[nodiscard]] ContextTable read_contexts(const std::filesystem::path& path,
                                         const Parents& expected = {});

}  // namespace refract
