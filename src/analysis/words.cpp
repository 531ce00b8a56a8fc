#include "refract/analysis/words.hpp"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <utility>

#include "character.hpp"
#include "refract/base/error.hpp"

namespace refract {
namespace {

bool is_letter(UChar32 code) {
  if (code < 0x80) return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
  return u_isalpha(code) != 0;
}

bool is_mark(UChar32 code) { return code >= 0x300 && (U_GET_GC_MASK(code) & U_GC_M_MASK) != 0; }

bool is_apostrophe(UChar32 code) { return code == '\'' || code == 0x2019; }

void append_lower(std::string& word, UChar32 code) {
  const UChar32 lower = u_tolower(code);
  char bytes[4];
  std::int32_t length = 0;
  U8_APPEND_UNSAFE(bytes, length, lower);
  word.append(bytes, static_cast<std::size_t>(length));
}

WordSpan word_from(std::string_view text, std::size_t begin) {
  WordSpan span{begin, begin, {}};
  for (std::size_t at = begin; at < text.size();) {
    const Character c = character_at(text, at);
    if (is_letter(c.code) || is_mark(c.code)) {
      append_lower(span.word, c.code);
    } else if (is_apostrophe(c.code) && c.end < text.size() &&
               is_letter(character_at(text, c.end).code)) {
      span.word.push_back('\'');
    } else {
      break;
    }
    at = span.end = c.end;
  }
  if (span.word.size() > 2 && span.word.ends_with("'s")) span.word.resize(span.word.size() - 2);
  return span;
}

}  // namespace

std::vector<WordSpan> words_in(std::string_view text) {
  std::vector<WordSpan> words;
  bool after_digit = false;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    if (is_letter(c.code)) {
      WordSpan word = word_from(text, at);
      at = word.end;
      if (!after_digit && word.word.size() > 1) words.push_back(std::move(word));
      after_digit = false;
    } else {
      after_digit = c.code >= '0' && c.code <= '9';
      at = c.end;
    }
  }
  return words;
}

void WordCorpus::add(std::uint64_t document, std::string_view text,
                     std::span<const ByteSpan> tokens) {
  const std::vector<WordSpan> spans = words_in(text);
  Document added;
  added.words.reserve(spans.size());
  for (const WordSpan& span : spans) {
    const auto [entry, is_new] =
        ids_.try_emplace(span.word, static_cast<std::uint32_t>(words_.size()));
    if (is_new) words_.push_back(span.word);
    added.words.push_back(entry->second);
  }
  added.first_word.reserve(tokens.size());
  added.end_word.reserve(tokens.size());
  std::size_t first = 0, end = 0;  // tokens ascend, so both only move forward
  for (const ByteSpan& token : tokens) {
    while (first < spans.size() && spans[first].end <= token.begin) ++first;
    while (end < spans.size() && spans[end].begin < token.end) ++end;
    added.first_word.push_back(static_cast<std::uint32_t>(first));
    added.end_word.push_back(static_cast<std::uint32_t>(end));
  }
  REFRACT_ASSERT(documents_.emplace(document, std::move(added)).second,
                 "document {:#x} added twice", document);
}

const WordCorpus::Document& WordCorpus::at(std::uint64_t document) const {
  const auto found = documents_.find(document);
  REFRACT_ASSERT(found != documents_.end(), "document {:#x} was not added", document);
  return found->second;
}

std::span<const std::uint32_t> WordCorpus::window(std::uint64_t document, std::uint32_t token,
                                                  std::uint32_t radius) const {
  const Document& of = at(document);
  REFRACT_ASSERT(token < of.first_word.size(), "token {} of {}", token, of.first_word.size());
  const std::size_t low = token > radius ? token - radius : 0;
  const std::size_t high =
      std::min<std::size_t>(std::size_t{token} + radius, of.first_word.size() - 1);
  const std::size_t begin = of.first_word[low];
  const std::size_t end = std::max<std::size_t>(begin, of.end_word[high]);
  return std::span(of.words).subspan(begin, end - begin);
}

std::span<const std::uint32_t> WordCorpus::words_of(std::uint64_t document) const {
  return at(document).words;
}

}  // namespace refract
