#include "refract/stages/tokenize.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/corpus/read_shard.hpp"
#include "refract/store/token_shard.hpp"

namespace refract {
namespace {

std::string digest_of(const TokenizePlan& plan, const std::string& shards_digest) {
  return short_digest(fmt::format("refract tokens {}\nshards {}\ntokenizer {}\nkeep_text {}\n{}",
                                  kSchemaVersion, shards_digest, plan.tokenizer_digest,
                                  plan.keep_text, plan.cleaning.canonical()));
}

void reserve(TokenShardData& data, const std::vector<std::vector<TokenSpan>>& tokens) {
  std::size_t total = 0;
  for (const auto& document : tokens) total += document.size();
  data.ids.reserve(total);
  data.token_begin.reserve(total);
  data.token_end.reserve(total);
}

void append(TokenShardData& data, Document& document, const std::vector<TokenSpan>& tokens) {
  for (const TokenSpan& token : tokens) {
    data.ids.push_back(token.id);
    data.token_begin.push_back(token.begin);
    data.token_end.push_back(token.end);
  }
  data.document_token_starts.push_back(data.ids.size());
  data.document_key.push_back(document_key(document.project, document.page_id, document.text));
  data.page_id.push_back(document.page_id);
  data.revision.push_back(document.revision);
  data.title.push_back(std::move(document.title));
  data.url.push_back(std::move(document.url));
  data.links.push_back(std::move(document.links));
  data.text.push_back(std::move(document.text));
}

std::string without_compression(const std::string& name) {
  fs::path path(name);
  for (const std::string_view known : {".gz", ".zst", ".bz2", ".xz"})
    if (path.extension() == known) path.replace_extension();
  for (const std::string_view known : {".jsonl", ".ndjson", ".json"})
    if (path.extension() == known) path.replace_extension();
  return path.string();
}

Parents parents_of(const TokenizePlan& plan, const FetchedShard& raw) {
  return {{"shard", raw.sha256},
          {"tokenizer", plan.tokenizer_digest},
          {"cleaning", short_digest(plan.cleaning.canonical())}};
}

}  // namespace

TokenizePlan plan_tokenize(const SourceConfig& source, const DownloadPlan& raw,
                           const Tokenizer& tokenizer, const std::filesystem::path& data_root,
                           bool keep_text) {
  TokenizePlan plan{"", "", raw.shards, raw.folder, tokenizer.digest(), source.cleaning, keep_text};
  plan.digest = digest_of(plan, raw.digest);
  plan.folder = data_root / "tokens" / plan.digest;
  return plan;
}

TokenizePlan plan_tokenize(const SourceConfig& source, const DownloadResult& fetched,
                           const Tokenizer& tokenizer, const std::filesystem::path& data_root,
                           bool keep_text) {
  DownloadPlan raw{fetched.digest, fetched.folder, {}};
  for (const FetchedShard& shard : fetched.shards)
    raw.shards.push_back({shard.name, shard.url, shard.bytes, shard.sha256});
  return plan_tokenize(source, raw, tokenizer, data_root, keep_text);
}

std::filesystem::path token_shard_path(const TokenizePlan& plan, std::size_t shard) {
  return plan.folder / (without_compression(plan.shards.at(shard).name) + ".h5");
}

TokenizedShard tokenize_shard(const TokenizePlan& plan, std::size_t i, const Tokenizer& tokenizer,
                              const std::function<void()>& tick) {
  TokenizedShard result;
  result.path = token_shard_path(plan, i);
  const FetchedShard raw = fetched_shard(plan.shard_folder, plan.shards.at(i).name);
  const Parents parents = parents_of(plan, raw);
  if (fs::exists(result.path)) {
    const TokenShard shard(result.path, parents);
    result.documents = shard.documents();
    result.tokens = shard.tokens();
    result.existed = true;
    return result;
  }
  std::vector<Document> documents;
  result.counts = read_documents(plan.shard_folder / raw.name, plan.cleaning, documents);
  std::vector<std::vector<TokenSpan>> tokens(documents.size());
  constexpr std::size_t kDocumentsPerTick = 256;
  for (std::size_t first = 0; first < documents.size(); first += kDocumentsPerTick) {
    parallel_for(std::min(kDocumentsPerTick, documents.size() - first), [&](std::size_t d) {
      tokenizer.encode(documents[first + d].text, tokens[first + d]);
    });
    if (tick) tick();
  }

  TokenShardData data;
  data.shard = static_cast<std::uint32_t>(i);
  data.vocabulary = tokenizer.size();
  data.keep_text = plan.keep_text;
  reserve(data, tokens);
  for (std::size_t d = 0; d < documents.size(); ++d) {
    append(data, documents[d], tokens[d]);
    tokens[d] = {};
  }
  result.special_in_text = static_cast<std::uint64_t>(
      std::count_if(data.ids.begin(), data.ids.end(),
                    [&](std::uint32_t id) { return tokenizer.is_special(id); }));
  result.documents = data.documents();
  result.tokens = data.ids.size();
  make_folder(plan.folder);
  write_token_shard(result.path, data, parents);
  return result;
}

std::vector<TokenizedShard> tokenize(const TokenizePlan& plan, const Tokenizer& tokenizer,
                                     bool quiet) {
  std::vector<TokenizedShard> shards;
  Progress progress("tokenize", plan.shards.size(), "shards", quiet);
  std::uint64_t tokens = 0;
  for (std::size_t i = 0; i < plan.shards.size(); ++i) {
    shards.push_back(tokenize_shard(plan, i, tokenizer));
    tokens += shards.back().tokens;
    progress.note(fmt::format("{} tokens", human_count(static_cast<double>(tokens))));
    progress.advance(1);
  }
  progress.finish();
  return shards;
}

}  // namespace refract
