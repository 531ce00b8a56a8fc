#include "refract/analysis/words.hpp"

#include <unicode/ubrk.h>
#include <unicode/uchar.h>
#include <unicode/utext.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "character.hpp"
#include "refract/base/error.hpp"
#include "refract/base/progress.hpp"

namespace refract {
namespace {

constexpr UChar32 kGraphemeJoiner = 0x34F, kGeresh = 0x5F3, kGershayim = 0x5F4;
constexpr UChar32 kVowelSeparator = 0x180E, kNonJoiner = 0x200C, kJoiner = 0x200D;
constexpr std::uint8_t kVirama = 9;  // canonical combining class

int word_break(UChar32 code) { return u_getIntPropertyValue(code, UCHAR_WORD_BREAK); }

bool is_letter(UChar32 code) {
  if (code < 0x80) return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
  return u_isalpha(code) != 0;
}

bool is_mark(UChar32 code) { return code >= 0x300 && (U_GET_GC_MASK(code) & U_GC_M_MASK) != 0; }

// The format characters to which rule WB4 is blind: all but the zero width space.
bool is_format(UChar32 code) {
  return code >= 0xAD && u_charType(code) == U_FORMAT_CHAR && word_break(code) != U_WB_OTHER;
}

// Without them the word would be drawn, and sometimes be, another one.
bool chooses_shapes(UChar32 code) {
  return code == kNonJoiner || code == kJoiner || code == kVowelSeparator;
}

// A letter that is neither ALetter nor Hebrew_Letter: UAX #29 leaves its words to a dictionary.
bool is_of_script_without_blanks(UChar32 letter) {
  constexpr UChar32 kFirst = 0xE01;  // the first letter of Thai
  if (letter < kFirst) return false;
  const int value = word_break(letter);
  return value == U_WB_OTHER || value == U_WB_KATAKANA;
}

bool is_hebrew(UChar32 letter) {
  return letter >= 0x5D0 && word_break(letter) == U_WB_HEBREW_LETTER;
}

// The letter at `at`, or behind format characters there; 0: there is none.
UChar32 letter_at(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const Character c = character_at(text, at);
    if (!is_format(c.code)) return is_letter(c.code) ? c.code : 0;
    at = c.end;
  }
  return 0;
}

// What is stored of a character that joins `letter` to the letter at `next`; 0: it joins none.
UChar32 link_between(UChar32 letter, UChar32 code, std::string_view text, std::size_t next) {
  UChar32 link = 0;
  switch (code) {
    case '\'':
    case 0x2019: link = '\''; break;
    case '"': link = is_hebrew(letter) && is_hebrew(letter_at(text, next)) ? kGershayim : 0; break;
    case 0xB7:   // Catalan
    case 0x387:  // Greek
    case 0x55F:  // Armenian
    case kGershayim:
    case 0x2027: link = code; break;  // hyphenation point
    default: break;
  }
  return link != 0 && letter_at(text, next) != 0 ? link : 0;
}

// The text's size where there is none.
std::size_t next_letter(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const Character c = character_at(text, at);
    if (is_letter(c.code)) break;
    at = c.end;
  }
  return at;
}

void append(std::string& word, UChar32 code) {
  if (code < 0x80) return word.push_back(static_cast<char>(code));
  char bytes[4];
  std::int32_t length = 0;
  U8_APPEND_UNSAFE(bytes, length, code);
  word.append(bytes, static_cast<std::size_t>(length));
}

UChar32 lower(UChar32 letter) { return letter < 0x80 ? letter | 0x20 : u_tolower(letter); }

struct Run {
  WordSpan word;
  bool without_blanks = false;  // holds a letter of such a script: perhaps several words
};

// The run of the letter at `begin`.
Run run_from(std::string_view text, std::size_t begin) {
  Run run{{begin, begin, {}}};
  std::string& word = run.word.word;
  std::size_t stored = 0;  // bytes of the word that stay if nothing but format characters follows
  UChar32 letter = 0, last = 0;
  for (std::size_t at = begin; at < text.size();) {
    const Character c = character_at(text, at);
    at = c.end;
    if (is_letter(c.code)) {
      letter = c.code;
      run.without_blanks = run.without_blanks || is_of_script_without_blanks(letter);
      append(word, lower(letter));
    } else if (is_mark(c.code)) {
      if (c.code != kGraphemeJoiner) append(word, c.code);
    } else if (is_format(c.code)) {
      if (chooses_shapes(c.code)) append(word, c.code);
      if (c.code != kJoiner || u_getCombiningClass(last) != kVirama) continue;
    } else if (c.code == kGeresh && is_hebrew(letter)) {
      append(word, c.code);
    } else if (const UChar32 link = link_between(letter, c.code, text, c.end); link != 0) {
      append(word, link);
    } else {
      break;
    }
    last = c.code;
    run.word.end = c.end;
    stored = word.size();
  }
  word.resize(stored);
  if (word.size() > 2 && word.ends_with("'s")) word.resize(word.size() - 2);
  return run;
}

// ICU's word breaks, of the root locale. Opened by the first run that asks: texts without one are
// most, and the first opening of a process reads ICU's data.
class WordBreaks {
 public:
  // The ends of the pieces of a run, ascending; the last is its size.
  std::span<const std::size_t> of(std::string_view run) {
    ends_.clear();
    if (open()) {
      UErrorCode code = U_ZERO_ERROR;
      text_.reset(utext_openUTF8(text_.release(), run.data(), static_cast<std::int64_t>(run.size()),
                                 &code));
      ubrk_setUText(breaks_.get(), text_.get(), &code);
      if (U_FAILURE(code))
        throw SystemError("ICU failed dividing a clause into words: {}.", u_errorName(code));
      for (auto end = ubrk_next(breaks_.get()); end != UBRK_DONE; end = ubrk_next(breaks_.get()))
        ends_.push_back(static_cast<std::size_t>(end));
    } else {
      ends_.push_back(run.size());
    }
    return ends_;
  }

 private:
  bool open() {
    if (breaks_ == nullptr && !failed_) {
      UErrorCode code = U_ZERO_ERROR;
      breaks_.reset(ubrk_open(UBRK_WORD, "", nullptr, 0, &code));
      failed_ = U_FAILURE(code);
      if (failed_) warn_once(code);
    }
    return !failed_;
  }

  static void warn_once(UErrorCode code) {
    [[maybe_unused]] static const bool warned = [code] {
      warn(
          fmt::format("this ICU has no word breaks ({}): a clause of Chinese, Thai or another "
                      "script without blanks counts as one word. Link an ICU with its data "
                      "(Debian: libicu-dev) to divide it.",
                      u_errorName(code)));
      return true;
    }();
  }

  struct Close {
    void operator()(UBreakIterator* breaks) const { ubrk_close(breaks); }
    void operator()(UText* text) const { utext_close(text); }
  };
  std::unique_ptr<UText, Close> text_;
  std::unique_ptr<UBreakIterator, Close> breaks_;
  bool failed_ = false;
  std::vector<std::size_t> ends_;
};

}  // namespace

std::vector<WordSpan> words_in(std::string_view text) {
  std::vector<WordSpan> words;
  WordBreaks breaks;
  bool after_digit = false;
  const auto add = [&](WordSpan&& word) {
    if (!after_digit && word.word.size() > 1) words.push_back(std::move(word));
    after_digit = false;
  };
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    if (!is_letter(c.code)) {
      after_digit = c.code >= '0' && c.code <= '9';
      at = c.end;
      continue;
    }
    Run run = run_from(text, at);
    const std::size_t begin = std::exchange(at, run.word.end);
    if (!run.without_blanks) {
      add(std::move(run.word));
      continue;
    }
    std::size_t from = begin;
    for (const std::size_t size : breaks.of(text.substr(begin, at - begin))) {
      const std::string_view until = text.substr(0, begin + size);
      from = next_letter(until, from);  // a piece may be an apostrophe alone
      if (from < until.size()) add(run_from(until, from).word);
      from = until.size();
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
