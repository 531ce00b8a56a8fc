#pragma once
// Third component of the pipeline: cuts the text between added tokens into words. Merges never
// cross a word's edge. Words flow on in batches, depth first, so that what is held does not grow
// with the text.
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "tokenizer/byte_level.hpp"
#include "tokenizer/origin.hpp"

namespace refract {

class JsonBlock;

// A stretch of text, never empty, and where it stands.
struct Piece {
  std::string_view bytes;
  Origin origin;
};

struct Word {
  std::uint32_t begin;  // bytes of the piece
  std::uint32_t end;
};

[[nodiscard]] inline Piece part_of(const Piece& piece, Word word) {
  return {piece.bytes.substr(word.begin, word.end - word.begin), piece.origin.at(word.begin)};
}

class WordConsumer {
 public:
  virtual ~WordConsumer() = default;
  // Consecutive words of the piece, whose bytes live until the call returns.
  virtual void take(const Piece& piece, std::span<const Word> words) = 0;
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Hands the words of the piece to `next`, in order.
  virtual void split(const Piece& piece, WordConsumer& next) const = 0;
  // Whether it asks if a piece stands at the start of the given text.
  [[nodiscard]] virtual bool asks_for_the_start() const { return false; }
};

// Collects words and hands them on: a virtual call for each would cost more than finding it.
class WordBatch {
 public:
  WordBatch(const Piece& piece, WordConsumer& next) : piece_(piece), next_(next) {}
  void add(std::uint32_t begin, std::uint32_t end) {
    words_[count_++] = {begin, end};
    if (count_ == words_.size()) finish();
  }
  void finish() {  // to be called after the last word
    if (count_ > 0) next_.take(piece_, std::span(words_).first(count_));
    count_ = 0;
  }

 private:
  const Piece& piece_;
  WordConsumer& next_;
  std::size_t count_ = 0;
  std::array<Word, 256> words_;
};

// What "pre_tokenizer" asks for; no parts: every stretch is one word.
class PreTokenizers {
 public:
  PreTokenizers() = default;
  explicit PreTokenizers(const JsonBlock& block);
  void split(const Piece& piece, WordConsumer& last) const { split_from(0, piece, last); }
  [[nodiscard]] Spelling spelling() const { return spelling_; }
  [[nodiscard]] bool ask_for_the_start() const;

 private:
  class Link;
  void append(const JsonBlock& block);
  void split_from(std::size_t part, const Piece& piece, WordConsumer& last) const;

  std::vector<std::unique_ptr<PreTokenizer>> parts_;
  Spelling spelling_ = Spelling::characters;
};

// What the rows of the table make; null where nothing is ever cut.
[[nodiscard]] std::unique_ptr<PreTokenizer> make_byte_level(const JsonBlock& block);
[[nodiscard]] std::unique_ptr<PreTokenizer> make_digits(const JsonBlock& block);
[[nodiscard]] std::unique_ptr<PreTokenizer> make_metaspace(const JsonBlock& block);
[[nodiscard]] std::unique_ptr<PreTokenizer> make_split(const JsonBlock& block);

}  // namespace refract
