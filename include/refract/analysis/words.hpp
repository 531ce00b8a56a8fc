#pragma once
// Words of cleaned text, and the words of a window of tokens.
//
// A word is a maximal run of letters (Unicode alphabetic characters and the marks that follow
// them), lower case. One apostrophe (' or U+2019) between two letters belongs to the word and is
// stored as '; a trailing possessive 's is dropped, so "Darwin's" counts as "darwin". Digits,
// punctuation and ill-formed bytes end a word. A token belongs to every word its byte span
// overlaps, so the pieces "chem" and "istry" both stand for "chemistry", and a window that begins
// inside a word holds the whole word.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace refract {

struct WordSpan {
  std::size_t begin = 0, end = 0;  // bytes of the text, the apostrophe and a dropped 's included
  std::string word;                // lower case, UTF-8
};
[[nodiscard]] std::vector<WordSpan> words_in(std::string_view text);

struct ByteSpan {
  std::uint64_t begin = 0, end = 0;  // bytes of the document's cleaned text
};

// The words of many documents under one numbering (word ids in order of first appearance).
class WordCorpus {
 public:
  // `tokens` are the byte spans of the document's tokens, ascending. A document is added once.
  void add(std::uint64_t document, std::string_view text, std::span<const ByteSpan> tokens);
  [[nodiscard]] bool contains(std::uint64_t document) const {
    return documents_.contains(document);
  }
  // Word ids, in text order, of tokens [token - radius, token + radius] of the document, clipped to
  // it.
  [[nodiscard]] std::span<const std::uint32_t> window(std::uint64_t document, std::uint32_t token,
                                                      std::uint32_t radius) const;
  [[nodiscard]] std::span<const std::uint32_t> words_of(std::uint64_t document) const;
  [[nodiscard]] const std::string& word(std::uint32_t id) const { return words_[id]; }
  [[nodiscard]] std::size_t vocabulary() const { return words_.size(); }

 private:
  struct Document {
    std::vector<std::uint32_t> words;       // ids in text order
    std::vector<std::uint32_t> first_word;  // [tokens] words that end at or before the token begins
    std::vector<std::uint32_t> end_word;    // [tokens] words that begin before the token ends
  };
  [[nodiscard]] const Document& at(std::uint64_t document) const;
  std::unordered_map<std::uint64_t, Document> documents_;
  std::unordered_map<std::string, std::uint32_t> ids_;
  std::vector<std::string> words_;
};

}  // namespace refract
