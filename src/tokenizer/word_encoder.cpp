#include "tokenizer/word_encoder.hpp"

namespace refract {
namespace {

// False where bytes vanished or two tokens share one: the cache keeps only ends.
bool tiles(std::span<const WordToken> tokens, std::size_t size) {
  std::uint32_t at = 0;
  for (const WordToken& token : tokens) {
    if (token.begin != at) return false;
    at = token.end;
  }
  return at == size;
}

std::string_view bytes_of(const Piece& piece, Word word) {
  return piece.bytes.substr(word.begin, word.end - word.begin);
}

}  // namespace

void WordEncoder::take(const Piece& piece, std::span<const Word> words) {
  for (const Word& word : words) {
    if (word.end - word.begin <= Large::kWordBytes)
      add(piece, word, false);
    else
      add_long(piece, word);
  }
  encode_items(piece);
}

// Keys are made some time before they are looked up, so that the table's memory is on its way.
void WordEncoder::add(const Piece& piece, Word word, bool is_part) {
  if (waiting_ == memory_.items.size()) encode_items(piece);
  WordMemory::Item& item = memory_.items[waiting_++];
  item.word = word;
  item.is_part = is_part;
  if (word.end - word.begin > Small::kWordBytes) return;
  item.key = Small::key_of(bytes_of(piece, word), piece.bytes.size() - word.begin, is_part);
  item.bucket = memory_.cache.small.fetch(item.key);
}

void WordEncoder::add_long(const Piece& piece, Word word) {
  const std::string_view bytes = bytes_of(piece, word);
  if (model_.takes_whole_words()) {
    encode_items(piece);
    memory_.tokens.clear();
    if (model_.encode_whole(bytes, memory_.tokens)) {
      append(piece, word, memory_.tokens);
      return;
    }
  }
  for (std::uint32_t begin = 0; begin < bytes.size();) {
    const std::uint32_t end = model_.cuts().part_end(bytes, begin);
    // Where no word is taken whole a part is encoded as a word is.
    add(piece, {word.begin + begin, word.begin + end}, model_.takes_whole_words());
    begin = end;
  }
}

// Tokens of known words of a text that was not rewritten, nearly all, are gathered before they are
// appended.
void WordEncoder::encode_items(const Piece& piece) {
  const bool is_given = piece.origin.rewriting == nullptr;
  TokenSpan* next = memory_.spans.data();
  for (const WordMemory::Item& item : std::span(memory_.items).first(waiting_)) {
    const bool fits = item.word.end - item.word.begin <= Small::kWordBytes;
    const auto* const entry = fits ? memory_.cache.small.find(item.key, item.bucket) : nullptr;
    if (entry != nullptr && is_given) {
      const std::uint32_t origin = piece.origin.begin + item.word.begin;
      std::uint32_t begin = origin;
      for (std::size_t i = 0; i < Small::kTokens; ++i) {  // what is past its tokens is overwritten
        next[i] = {entry->id[i], begin, origin + entry->end[i]};
        begin = next[i].end;
      }
      next += entry->tokens;
      continue;
    }
    next = flush(next);
    if (entry != nullptr)
      append_entry(piece, item.word, *entry);
    else
      encode_rare(piece, item);
  }
  (void)flush(next);
  waiting_ = 0;
}

TokenSpan* WordEncoder::flush(TokenSpan* end) {
  TokenSpan* const begin = memory_.spans.data();
  if (begin != end) out_.insert(out_.end(), begin, end);
  return begin;
}

// What the small table does not have.
void WordEncoder::encode_rare(const Piece& piece, const WordMemory::Item& item) {
  const std::string_view bytes = bytes_of(piece, item.word);
  const bool fits = bytes.size() <= Large::kWordBytes;
  Large::Key key{};
  if (fits) {
    key = Large::key_of(bytes, piece.bytes.size() - item.word.begin, item.is_part);
    if (const auto* entry = memory_.cache.large.find(key)) {
      append_entry(piece, item.word, *entry);
      return;
    }
  }
  auto& tokens = memory_.tokens;
  tokens.clear();
  if (item.is_part)
    model_.merge(bytes, tokens);
  else
    model_.encode(bytes, tokens);
  append(piece, item.word, tokens);
  if (!fits || !tiles(tokens, bytes.size())) return;
  if (bytes.size() <= Small::kWordBytes && tokens.size() <= Small::kTokens)
    memory_.cache.small.insert(item.key, tokens);
  else if (tokens.size() <= Large::kTokens)
    memory_.cache.large.insert(key, tokens);
}

void WordEncoder::append(const Piece& piece, Word word, std::span<const WordToken> tokens) {
  const Origin origin = piece.origin.at(word.begin);
  for (const WordToken& token : tokens)
    out_.push_back({token.id, origin.place(token.begin), origin.place(token.end)});
}

}  // namespace refract
