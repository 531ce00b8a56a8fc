#pragma once
// The end of the pipeline: takes the words of a piece, asks the cache and then the model, and
// appends tokens with their places in the given text.
#include <array>
#include <vector>

#include "refract/tokenizer/tokenizer.hpp"
#include "tokenizer/bpe_model.hpp"
#include "tokenizer/pre_tokenizer.hpp"
#include "tokenizer/word_cache.hpp"

namespace refract {

// What encoding words needs beside the model; kept between calls because the cache is worth more
// the longer it lives.
struct WordMemory {
  // A word, or the part of one that a safe cut left, which is looked up without its whole.
  struct Item {
    WordCache::Small::Key key;
    std::uint32_t bucket;
    Word word;
    bool is_part;
  };
  WordCache cache;
  std::vector<WordToken> tokens;
  std::array<Item, 256> items;
  std::array<TokenSpan, 256 * WordCache::Small::kTokens> spans;
};

class WordEncoder : public WordConsumer {
 public:
  WordEncoder(const BpeModel& model, WordMemory& memory, std::vector<TokenSpan>& out)
      : model_(model), memory_(memory), out_(out) {}

  void take(const Piece& piece, std::span<const Word> words) override;

 private:
  using Small = WordCache::Small;
  using Large = WordCache::Large;

  void add(const Piece& piece, Word word, bool is_part);
  void add_long(const Piece& piece, Word word);
  void encode_items(const Piece& piece);
  void encode_rare(const Piece& piece, const WordMemory::Item& item);
  void append(const Piece& piece, Word word, std::span<const WordToken> tokens);
  [[nodiscard]] TokenSpan* flush(TokenSpan* end);

  template <typename Entry>
  void append_entry(const Piece& piece, Word word, const Entry& entry) {
    const Origin origin = piece.origin.at(word.begin);
    if (origin.rewriting == nullptr)
      append_tiles(entry, [begin = origin.begin](std::uint32_t end) { return begin + end; });
    else
      append_tiles(entry, [&origin](std::uint32_t end) { return origin.place(end); });
  }
  template <typename Entry, typename Place>
  void append_tiles(const Entry& entry, Place place) {
    std::uint32_t begin = place(0);
    for (std::size_t i = 0; i < entry.tokens; ++i) {
      const std::uint32_t end = place(entry.end[i]);
      out_.push_back({entry.id[i], begin, end});
      begin = end;
    }
  }

  const BpeModel& model_;
  WordMemory& memory_;
  std::vector<TokenSpan>& out_;
  std::size_t waiting_ = 0;  // items
};

}  // namespace refract
