#include "refract/tokenizer/tokenizer.hpp"

#include <simdjson.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "tokenizer/added_tokens.hpp"
#include "tokenizer/bpe_model.hpp"
#include "tokenizer/tokenizer_file.hpp"
#include "tokenizer/word_encoder.hpp"

namespace refract {
namespace {

// What one call of encode needs; kept between calls because the cache is worth more the longer it
// lives.
struct Workspace {
  explicit Workspace(std::size_t normalizers) : rewritings(normalizers) {}
  WordMemory words;
  std::vector<Rewriting> rewritings;  // one for each normalizer

  // What grew with a long text is not kept for the next.
  void release_large() {
    constexpr std::size_t kBytes = 256 << 10;
    for (Rewriting& rewriting : rewritings)
      if (rewriting.held_bytes() > kBytes) rewriting.release();
    if (words.tokens.capacity() * sizeof(WordToken) > kBytes) {
      words.tokens.clear();
      words.tokens.shrink_to_fit();
    }
  }
};

class Workspaces {
 public:
  explicit Workspaces(std::size_t normalizers) : normalizers_(normalizers) {}
  [[nodiscard]] std::unique_ptr<Workspace> take() {
    {
      const std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        auto workspace = std::move(free_.back());
        free_.pop_back();
        return workspace;
      }
    }
    return std::make_unique<Workspace>(normalizers_);
  }
  void give(std::unique_ptr<Workspace> workspace) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(workspace));
  }

 private:
  std::size_t normalizers_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> free_;
};

class Pipeline : public Tokenizer {
 public:
  Pipeline(TokenizerFile file, std::uint32_t ids)
      : digest_(std::move(file.digest)),
        normalizers_(std::move(file.normalizers)),
        pre_tokenizers_(std::move(file.pre_tokenizers)),
        model_(std::move(file.model), pre_tokenizers_.spelling()),
        decoder_(std::move(*file.decoder)),
        added_(std::move(file.added), model_.vocabulary(), normalizers_, ids),
        workspaces_(normalizers_.size()) {
    size_ = model_.vocabulary().end();
    for (const AddedToken& token : added_.tokens()) {
      size_ = std::max(size_, token.id + 1);
      added_by_id_.emplace(token.id, &token);
    }
    if (!added_.left_out().empty()) digest_ = short_digest(fmt::format("{}\nids {}", digest_, ids));
  }

  void encode(std::string_view text, std::vector<TokenSpan>& out) const override {
    if (text.size() >= kTextBytes)
      throw DataError("a text of {} bytes is too long to tokenize, the limit is 2 GiB; split it",
                      text.size());
    if (!simdjson::validate_utf8(text.data(), text.size()))
      throw DataError(
          "a text to tokenize is not valid UTF-8; clean it first (corpus/read_shard.hpp does)");
    auto workspace = workspaces_.take();
    TokenFinder::Walk walk(added_.in_given_text(), text);
    for (Stretch stretch; walk.next(stretch);) {
      if (stretch.id == Stretch::kText)
        encode_stretch(part_of({text, {}}, {stretch.begin, stretch.end}), *workspace, out);
      else
        out.push_back({stretch.id, stretch.begin, stretch.end});
    }
    workspace->release_large();
    workspaces_.give(std::move(workspace));
  }

  std::string decode_bytes(std::uint32_t id) const override {
    if (id >= size_)
      throw DataError(
          "token id {} is out of range, the tokenizer has {}; was it made for this model?", id,
          size_);
    if (const auto added = added_by_id_.find(id); added != added_by_id_.end())
      return decoder_.bytes_of(added->second->pattern, !model_.vocabulary().has(id));
    return decoder_.bytes_of(model_.vocabulary().entry(id), false);
  }

  std::string decode(std::span<const std::uint32_t> ids) const override {
    std::string bytes;
    for (const std::uint32_t id : ids) bytes += decode_bytes(id);
    decoder_.strip(bytes);
    return bytes;
  }

  std::optional<std::uint32_t> id_of(std::string_view content) const override {
    for (const AddedToken& token : added_.tokens())
      if (token.content == content) return token.id;
    return model_.vocabulary().id_of(content);
  }

  bool is_special(std::uint32_t id) const override {
    const auto added = added_by_id_.find(id);
    return added != added_by_id_.end() && added->second->special;
  }
  bool is_added(std::uint32_t id) const override { return added_by_id_.contains(id); }
  std::vector<std::string> left_out() const override { return added_.left_out(); }
  std::uint32_t size() const override { return size_; }
  std::string digest() const override { return digest_; }

 private:
  static constexpr std::size_t kTextBytes = std::size_t{1} << 31;  // ICU counts in int32

  // A stretch between added tokens of the given text.
  void encode_stretch(const Piece& given, Workspace& workspace, std::vector<TokenSpan>& out) const {
    const Piece piece = normalized(given, workspace);
    WordEncoder words(model_, workspace.words, out);
    if (piece.bytes.empty()) return;
    if (added_.in_normalized_text().empty()) {
      pre_tokenizers_.split(piece, words);
      return;
    }
    TokenFinder::Walk walk(added_.in_normalized_text(), piece.bytes);
    for (Stretch stretch; walk.next(stretch);) {
      const auto [id, begin, end] = stretch;
      if (id == Stretch::kText)
        pre_tokenizers_.split(part_of(piece, {begin, end}), words);
      else
        out.push_back({id, piece.origin.place(begin), piece.origin.place(end)});
    }
  }

  Piece normalized(Piece piece, Workspace& workspace) const {
    for (std::size_t i = 0; i < normalizers_.size(); ++i) {
      Rewriting& made = workspace.rewritings[i];
      made.start(piece.origin);
      if (normalizers_[i]->rewrite(piece.bytes, made)) piece = {made.text(), made.origin()};
    }
    return piece;
  }

  std::string digest_;
  Normalizers normalizers_;
  PreTokenizers pre_tokenizers_;
  BpeModel model_;
  Decoder decoder_;
  AddedTokens added_;
  std::unordered_map<std::uint32_t, const AddedToken*> added_by_id_;
  std::uint32_t size_ = 0;
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

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& folder_or_json, std::uint32_t ids) {
  try {
    return std::make_unique<Pipeline>(read_tokenizer_file(folder_or_json), ids);
  } catch (const DataError& error) {
    const bool is_folder = fs::is_directory(folder_or_json);
    const fs::path json = folder_or_json / "tokenizer.json";
    throw DataError("{}: {}", (is_folder && is_there(json) ? json : folder_or_json).string(),
                    error.what());
  }
}

}  // namespace refract
