#pragma once
// Words of cleaned text, and the words of a window of tokens.
//
// A word is a maximal run of letters (Unicode category L) and the marks that follow them, lower
// case character by character. What else it holds, and where a run is several words, is as in UAX
// #29 (Unicode's word boundaries):
//
// - One apostrophe (' or U+2019) between two letters belongs to the word and is stored as '; a
//   trailing possessive 's is dropped, so "Darwin's" counts as "darwin".
// - So do the annex's MidLetters between two letters: the middle dot of Catalan "col·lega" and its
//   Greek twin, gershayim, the Armenian abbreviation mark, the hyphenation point. Not its colons
//   and full stops: in sentences they end clauses, also where the blank after them is missing.
// - In Hebrew, " between two letters is stored as gershayim (U+05F4), for which it is typed; geresh
//   (U+05F3) belongs to the letter before it.
// - Format characters (the annex's rule WB4) neither end a word nor begin one. Those that choose
//   the shapes of letters, ZWNJ, ZWJ and the Mongolian vowel separator, are stored: words of
//   Persian differ by them. Soft hyphens, word joiners, marks of direction and the combining
//   grapheme joiner are not. After the last letter or mark all are left out, but for a ZWJ behind
//   a virama: Malayalam wrote letters so.
// - A run with letters that the annex leaves to dictionaries (Han, Hiragana, Katakana, Thai, Lao,
//   Khmer, Burmese and others of scripts written without blanks) is divided by ICU's word breaks;
//   its version decides which words. Under an ICU without them (decision 0011) the run is one word,
//   and a warning says so once.
//
// Digits, other punctuation, zero width spaces and ill-formed bytes end a word. What follows an
// ASCII digit ("19th") is no word, nor is what fills only one byte. A token belongs to every word
// its byte span overlaps, so the pieces "chem" and "istry" both stand for "chemistry", and a window
// that begins inside a word holds the whole word.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace refract {

struct WordSpan {
  std::size_t begin = 0, end = 0;  // bytes of the text, with what is not stored of them
  std::string word;                // lower case, UTF-8
};
// Ascending, none overlaps another, each begins with a letter. Thread-safe.
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
