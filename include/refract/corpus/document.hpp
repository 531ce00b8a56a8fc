#pragma once
// A cleaned document, and the rules that clean it.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace refract {

struct Document {
  std::uint64_t page_id = 0;   // unique within a project; 0: the source has none
  std::uint64_t revision = 0;  // 0: unknown
  std::string project;         // e.g. "enwiki"; may be empty
  std::string title;           // may be empty, as url and links
  std::string url;
  std::string links;  // addresses the text links to, one per line
  // Valid UTF-8 in NFC without control characters but '\n': the title, then one line per paragraph
  // or list item.
  std::string text;
};

// What decides the cleaned text; every field is part of the token folder's digest.
struct CleaningRules {
  // Sections left out with all they contain; compared after case folding.
  std::vector<std::string> drop_sections = {"References",      "External links", "See also",
                                            "Further reading", "Notes",          "Bibliography",
                                            "Sources",         "Citations"};
  std::uint64_t min_chars =
      200;              // shorter documents (code points, title included) are dropped; 0 keeps all
  std::string project;  // project of records that do not name theirs

  // One line per rule: the part of a digest that these settings are.
  [[nodiscard]] std::string canonical() const;
};

// What became of the records of one shard. records = kept + redirects + too_short + rejected.
struct CorpusCounts {
  std::uint64_t records = 0;
  std::uint64_t kept = 0;
  std::uint64_t redirects = 0;
  std::uint64_t too_short = 0;
  std::uint64_t rejected = 0;        // not a document: no text, sections that are no list, ...
  std::uint64_t duplicates = 0;      // of the kept: an older revision of a page in the same shard
  std::uint64_t repaired_bytes = 0;  // ill-formed UTF-8 replaced by U+FFFD
  void add(const CorpusCounts& other);
  // What was lost and why, for people: "5 of 9 records kept; dropped: 2 too short, 1 redirect".
  // Empty when nothing was.
  [[nodiscard]] std::string losses() const;
};

// A 64-bit hash that identifies a document across shards, runs and machines: of (project, page id),
// or of the text with case and whitespace ignored where there is no page id. Held-out membership is
// decided by it.
[[nodiscard]] std::uint64_t document_key(std::string_view project, std::uint64_t page_id,
                                         std::string_view text);

}  // namespace refract
