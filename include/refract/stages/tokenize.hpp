#pragma once
// Stage tokenize: shard -> cleaned documents -> token shard <data_root>/tokens/<digest>/<shard>.h5.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "refract/corpus/source.hpp"
#include "refract/stages/download.hpp"
#include "refract/tokenizer/tokenizer.hpp"

namespace refract {

// Where the token shards of a source under a tokenizer go; known before any shard is fetched, so
// that shards can be fetched, tokenized and used one by one.
struct TokenizePlan {
  std::string digest;  // of the data set, the cleaning rules, the tokenizer, keep_text, the schema
  std::filesystem::path folder;        // <data_root>/tokens/<digest>
  std::vector<ShardRef> shards;        // in shard order; the ordinal of a shard is its index here
  std::filesystem::path shard_folder;  // where they lie when fetched
  std::filesystem::path data_root;     // where digests of files are kept
  std::string tokenizer_digest;
  CleaningRules cleaning;
  bool keep_text = true;  // tokens.keep_text
};

[[nodiscard]] TokenizePlan plan_tokenize(const SourceConfig& source, const DownloadPlan& raw,
                                         const Tokenizer& tokenizer,
                                         const std::filesystem::path& data_root,
                                         bool keep_text = true);

// <folder>/<shard name without .jsonl, .zst and the like>.h5
[[nodiscard]] std::filesystem::path token_shard_path(const TokenizePlan& plan, std::size_t shard);

struct TokenizedShard {
  std::filesystem::path path;
  std::uint64_t documents = 0;
  std::uint64_t tokens = 0;
  CorpusCounts counts;
  bool existed = false;  // its token shard was there: nothing was done, the other counts are zero
};

// Tokenizes shard `i` of the plan, which must have been fetched, unless its token shard exists; a
// token shard that exists is verified by content, and made again (with a warning) when it is
// damaged or of another schema. Documents are cleaned and encoded in parallel; the file does not
// depend on threads. What was dropped is said in one line. A raw shard that is not what was fetched
// is Damaged and named; one that cannot be read is a DataError that names file and line. Any number
// of processes may ask for the same shard: one tokenizes, the others wait. tick() is called while
// it goes on, every few hundred documents; StopRequested when a stop was asked for while another
// job tokenizes it.
TokenizedShard tokenize_shard(const TokenizePlan& plan, std::size_t i, const Tokenizer& tokenizer,
                              const std::function<void()>& tick = {});

}  // namespace refract
