#pragma once
// Where documents come from: a source lists its shards; a shard is fetched whole, then read
// document by document.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "refract/corpus/document.hpp"

namespace refract {

// Settings of section `source`.
struct SourceConfig {
  std::string from;  // "<kind>:<place>", e.g. file:configs/demo/shards/*.jsonl.zst; known kinds:
                     // source_kinds()
  CleaningRules cleaning;
  std::uint64_t max_shards = 0;  // 0: all; otherwise the first ones in shard order
};

// One file of a corpus before it is fetched.
struct ShardRef {
  std::string name;             // file name, unique within the source
  std::string url;              // file://, http:// or https://
  std::uint64_t bytes = 0;      // 0: unknown
  std::string hash, hash_kind;  // as published with it ("sha256"), lower-case hex; empty: none
  std::filesystem::path local;  // where it lies on this machine already; empty: elsewhere
};

class DocumentSource {
 public:
  virtual ~DocumentSource() = default;
  // Sorted by the numbers in the name, then by name. ConfigError when there are none. Reads no
  // shard.
  [[nodiscard]] virtual std::vector<ShardRef> list_shards() const = 0;
  // What identifies the data set apart from its files: kind and revision, never a path.
  [[nodiscard]] virtual std::string identity() const = 0;
};

// Chooses the source by the word before ':' in config.from; ConfigError lists the known ones.
[[nodiscard]] std::unique_ptr<DocumentSource> make_source(const SourceConfig& config);
[[nodiscard]] std::vector<std::string_view> source_kinds();

// All shards of the source. ConfigError when what is kept of two of them would share a file name
// (a.jsonl and a.jsonl.gz: one token shard), or a name is not UTF-8.
[[nodiscard]] std::vector<ShardRef> list_shards(const SourceConfig& config);

// The name without .jsonl, .zst and the like: what a token shard is called after.
[[nodiscard]] std::string shard_stem(const std::string& name);

// "enwiki_namespace_0_2.jsonl" before "enwiki_namespace_0_10.jsonl".
[[nodiscard]] bool shard_name_less(std::string_view a, std::string_view b);

}  // namespace refract
