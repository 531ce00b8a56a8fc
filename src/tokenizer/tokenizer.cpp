#include "refract/tokenizer/tokenizer.hpp"

#include <simdjson.h>

#include <algorithm>
#include <mutex>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "tokenizer/added_tokens.hpp"
#include "tokenizer/bpe_model.hpp"
#include "tokenizer/pre_tokenizer.hpp"
#include "tokenizer/word_cache.hpp"

namespace refract {
namespace {

// What one call of encode needs; kept between calls because the cache is worth more the longer it
// lives.
struct Workspace {
  WordCache cache;
  Words words;
  std::vector<Stretch> stretches, scratch;
  std::vector<WordToken> tokens;
};

class Workspaces {
 public:
  [[nodiscard]] std::unique_ptr<Workspace> take() {
    {
      const std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        auto workspace = std::move(free_.back());
        free_.pop_back();
        return workspace;
      }
    }
    return std::make_unique<Workspace>();
  }
  void give(std::unique_ptr<Workspace> workspace) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(workspace));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> free_;
};

void refuse_normalizer(const nlohmann::json& file) {
  const auto found = file.find("normalizer");
  if (found == file.end() || found->is_null()) return;
  throw DataError(
      "tokenizer.json asks for the normalizer '{}', known: null. Use a model whose tokenizer has "
      "none",
      found->value("type", "?"));
}

class Pipeline : public Tokenizer {
 public:
  Pipeline(const nlohmann::json& file, std::string digest)
      : digest_(std::move(digest)),
        pre_tokenizer_(make_pre_tokenizer(file.value("pre_tokenizer", nlohmann::json()))),
        model_(file.at("model")),
        added_(file.value("added_tokens", nlohmann::json::array()), model_) {
    for (const auto& [id, bytes] : model_.bytes()) set_bytes(id, bytes);
    for (const AddedToken& token : added_.tokens()) {
      set_bytes(token.id, token.content);
      if (token.special) special_.insert(token.id);
    }
  }

  void encode(std::string_view text, std::vector<TokenSpan>& out) const override {
    if (text.size() >= 0xFFFFFFFFu)
      throw DataError("a text of {} bytes is too long to tokenize, the limit is 4 GiB; split it",
                      text.size());
    if (!simdjson::validate_utf8(text.data(), text.size()))
      throw DataError(
          "a text to tokenize is not valid UTF-8; clean it first (corpus/read_shard.hpp does)");
    auto workspace = workspaces_.take();
    added_.split(text, workspace->stretches, workspace->scratch);
    for (const Stretch& stretch : workspace->stretches) {
      if (stretch.id == Stretch::kText)
        encode_stretch(text, stretch, *workspace, out);
      else
        out.push_back({stretch.id, stretch.begin, stretch.end});
    }
    workspaces_.give(std::move(workspace));
  }

  std::string decode_bytes(std::uint32_t id) const override {
    if (id >= bytes_.size())
      throw DataError(
          "token id {} is out of range, the tokenizer has {}; was it made for this model?", id,
          bytes_.size());
    return bytes_[id];
  }

  std::optional<std::uint32_t> id_of(std::string_view content) const override {
    for (const AddedToken& token : added_.tokens())
      if (token.content == content) return token.id;
    return model_.id_of(content);
  }

  bool is_special(std::uint32_t id) const override { return special_.contains(id); }
  std::uint32_t size() const override { return static_cast<std::uint32_t>(bytes_.size()); }
  std::string digest() const override { return digest_; }

 private:
  void set_bytes(std::uint32_t id, const std::string& bytes) {
    if (id >= bytes_.size()) bytes_.resize(std::size_t{id} + 1);
    bytes_[id] = bytes;
  }

  void encode_stretch(std::string_view text, const Stretch& stretch, Workspace& workspace,
                      std::vector<TokenSpan>& out) const {
    Words& words = workspace.words;
    pre_tokenizer_->split(text.substr(stretch.begin, stretch.end - stretch.begin), words);
    // Prepended bytes are not in the text: what covers them begins where the stretch begins.
    const auto place = [&](std::uint32_t in_words) {
      return stretch.begin + (in_words > words.prepended ? in_words - words.prepended : 0);
    };
    for (const Word& word : words.words) {
      const std::string_view bytes = words.text.substr(word.begin, word.end - word.begin);
      if (bytes.size() > WordCache::kWordBytes) {
        workspace.tokens.clear();
        model_.encode(bytes, workspace.tokens);
        for (const WordToken& token : workspace.tokens)
          out.push_back({token.id, place(word.begin + token.begin), place(word.begin + token.end)});
        continue;
      }
      const WordCache::Key key = WordCache::key_of(bytes);
      WordCache::Entry& entry = workspace.cache.entry(key);
      if (entry.key != key) {
        workspace.tokens.clear();
        model_.encode(bytes, workspace.tokens);
        const bool cacheable =
            workspace.tokens.size() <= WordCache::kTokens && covers(workspace.tokens, bytes);
        if (!cacheable) {
          for (const WordToken& token : workspace.tokens)
            out.push_back(
                {token.id, place(word.begin + token.begin), place(word.begin + token.end)});
          continue;
        }
        WordCache::fill(entry, key, workspace.tokens.data(), workspace.tokens.size());
      }
      std::uint32_t begin = word.begin;
      for (std::size_t i = 0; i < entry.tokens; ++i) {
        const std::uint32_t end = word.begin + entry.end[i];
        out.push_back({entry.id[i], place(begin), place(end)});
        begin = end;
      }
    }
  }

  // False where a byte without an entry vanished: the cache keeps only ends.
  static bool covers(const std::vector<WordToken>& tokens, std::string_view word) {
    std::uint32_t at = 0;
    for (const WordToken& token : tokens) {
      if (token.begin != at) return false;
      at = token.end;
    }
    return at == word.size();
  }

  std::string digest_;
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  BpeModel model_;
  AddedTokens added_;
  std::vector<std::string> bytes_;
  std::unordered_set<std::uint32_t> special_;
  mutable Workspaces workspaces_;
};

}  // namespace

std::vector<std::uint32_t> Tokenizer::encode_ids(std::string_view text) const {
  std::vector<TokenSpan> spans;
  encode(text, spans);
  std::vector<std::uint32_t> ids(spans.size());
  std::transform(spans.begin(), spans.end(), ids.begin(),
                 [](const TokenSpan& span) { return span.id; });
  return ids;
}

std::string Tokenizer::decode(std::span<const std::uint32_t> ids) const {
  std::string bytes;
  for (const std::uint32_t id : ids) bytes += decode_bytes(id);
  return bytes;
}

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& folder_or_json) {
  const fs::path path =
      fs::is_directory(folder_or_json) ? folder_or_json / "tokenizer.json" : folder_or_json;
  const std::string bytes = read_file(path);
  try {
    const auto file = nlohmann::json::parse(bytes);
    refuse_normalizer(file);
    return std::make_unique<Pipeline>(file, short_digest(bytes));
  } catch (const nlohmann::json::exception& error) {
    throw DataError("{} is not a tokenizer.json that refract understands: {}", path.string(),
                    error.what());
  } catch (const DataError& error) {
    throw DataError("{}: {}", path.string(), error.what());
  }
}

}  // namespace refract
