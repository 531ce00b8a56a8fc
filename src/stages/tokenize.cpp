#include "refract/stages/tokenize.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/corpus/read_shard.hpp"
#include "refract/stages/claimed.hpp"
#include "refract/store/file_digests.hpp"
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

Parents parents_of(const TokenizePlan& plan, const FetchedShard& raw) {
  return {{"shard", raw.sha256},
          {"tokenizer", plan.tokenizer_digest},
          {"cleaning", short_digest(plan.cleaning.canonical())}};
}

enum class IfDamaged { silent, warns };

// The token shard that lies there and may be used. Its content is verified before its parents: a
// flipped byte in a parent's digest is damage, too.
std::optional<TokenizedShard> existing(const fs::path& path, const Parents& parents,
                                       FileDigests& seen, IfDamaged damaged,
                                       const std::function<void()>& tick) {
  if (!fs::exists(path)) return std::nullopt;
  const auto again = [&](const Error& error) {
    if (damaged == IfDamaged::warns) warn(fmt::format("{}; it is made again", error.what()));
    return std::nullopt;
  };
  try {
    const TokenShard shard(path, {}, seen, tick);
    expect_artifact(shard.header(), {shard.header().schema, shard.header().version, parents}, path);
    TokenizedShard result;
    result.path = path;
    result.documents = shard.documents();
    result.tokens = shard.tokens();
    result.existed = true;
    return result;
  } catch (const Damaged& error) {
    return again(error);
  } catch (const OtherSchema& error) {
    return again(error);
  }
}

void expect_as_fetched(const TokenizePlan& plan, const FetchedShard& raw,
                       const std::function<void()>& tick) {
  const fs::path file = plan.shard_folder / raw.name;
  const std::string found = FileDigests(plan.data_root).sha256(file, tick);
  if (found != raw.sha256)
    throw Damaged(
        "{} is not what was fetched: its SHA-256 is {}, recorded is {}. Run the same command "
        "again: it is fetched anew",
        file.string(), found, raw.sha256);
}

void say_what_was_lost(const std::string& shard, const CorpusCounts& counts) {
  const std::string losses = counts.losses();
  if (losses.empty()) return;
  if (counts.kept == 0)
    warn(fmt::format("{}: {}", shard, losses));
  else
    say(fmt::format("{}: {}", shard, losses));
}

}  // namespace

TokenizePlan plan_tokenize(const SourceConfig& source, const DownloadPlan& raw,
                           const Tokenizer& tokenizer, const std::filesystem::path& data_root,
                           bool keep_text) {
  TokenizePlan plan{
      "",       "", raw.shards, raw.folder, raw.data_root, tokenizer.digest(), source.cleaning,
      keep_text};
  plan.digest = digest_of(plan, raw.digest);
  plan.folder = data_root / "tokens" / plan.digest;
  return plan;
}

std::filesystem::path token_shard_path(const TokenizePlan& plan, std::size_t shard) {
  return plan.folder / (shard_stem(plan.shards.at(shard).name) + ".h5");
}

TokenizedShard tokenize_shard(const TokenizePlan& plan, std::size_t i, const Tokenizer& tokenizer,
                              const std::function<void()>& tick) {
  TokenizedShard result;
  result.path = token_shard_path(plan, i);
  const FetchedShard raw = fetched_shard(plan.shard_folder, plan.shards.at(i).name);
  const Parents parents = parents_of(plan, raw);
  FileDigests seen(plan.data_root);
  if (auto found = existing(result.path, parents, seen, IfDamaged::silent, tick)) return *found;
  make_folder(plan.folder);
  const Claim claim = claim_of(result.path, "tokenize", tick);
  if (auto found = existing(result.path, parents, seen, IfDamaged::warns, tick)) return *found;
  expect_as_fetched(plan, raw, tick);
  std::vector<Document> documents;
  result.counts = read_documents(plan.shard_folder / raw.name, plan.cleaning, documents, tick);
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
  result.documents = data.documents();
  result.tokens = data.ids.size();
  write_token_shard(result.path, data, parents, claim.mark());
  seen.remember_whole(result.path);
  say_what_was_lost(raw.name, result.counts);
  return result;
}

}  // namespace refract
