#include "corpus/clean_text.hpp"

#include <simdjson.h>
#include <unicode/bytestream.h>
#include <unicode/casemap.h>
#include <unicode/normalizer2.h>
#include <unicode/uniset.h>
#include <unicode/utf8.h>

#include <algorithm>

#include "refract/base/error.hpp"

namespace refract {
namespace {

constexpr UChar32 kNotInUtf8 = -1;
// All characters below U+0300 are unchanged by NFC.
constexpr UChar32 kFirstMark = 0x300;
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// The character at `at`, which moves behind it; kNotInUtf8 for each maximal ill-formed part.
UChar32 next_character(std::string_view bytes, int32_t& at) {
  UChar32 c = 0;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"  // inside ICU's macro
  U8_NEXT(bytes.data(), at, static_cast<int32_t>(bytes.size()), c);
#pragma GCC diagnostic pop
  return c;
}

void check(UErrorCode code, const char* doing) {
  if (U_FAILURE(code))
    throw SystemError("ICU failed {}: {}. Is its data package installed?", doing,
                      u_errorName(code));
}

// NFC as of Unicode 9.0: later ICU versions give the same bytes, and so does the NFC of Hugging
// Face `tokenizers`.
const icu::Normalizer2& nfc() {
  static const icu::FilteredNormalizer2 normalizer = [] {
    UErrorCode code = U_ZERO_ERROR;
    const icu::Normalizer2* current = icu::Normalizer2::getNFCInstance(code);
    check(code, "loading NFC");
    static const icu::UnicodeSet assigned(icu::UnicodeString("[:age=9.0:]"), code);
    check(code, "loading the characters of Unicode 9.0");
    return icu::FilteredNormalizer2(*current, assigned);
  }();
  return normalizer;
}

std::string to_nfc(const std::string& line) {
  std::string normal;
  icu::StringByteSink<std::string> sink(&normal);
  UErrorCode code = U_ZERO_ERROR;
  nfc().normalizeUTF8(0, line, sink, nullptr, code);
  check(code, "normalising text");
  return normal;
}

bool is_line_break(UChar32 c) { return c == '\n' || c == '\r' || c == '\v' || c == '\f'; }

// White_Space; U+0085, U+2028 and U+2029 occur inside citation text and are blanks, not line
// breaks.
bool is_blank(UChar32 c) {
  return c == ' ' || c == '\t' || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_dropped(UChar32 c) { return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xFEFF; }

bool all_digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Bytes of the citation mark at `at` ('['), or 0.
std::size_t citation_bytes(std::string_view text, std::size_t at) {
  constexpr std::size_t kLongest = 20;
  const auto close = text.substr(0, std::min(text.size(), at + kLongest)).find(']', at);
  if (close == std::string_view::npos) return 0;
  std::string_view inside = text.substr(at + 1, close - at - 1);
  bool mark = inside == "citation needed" || (all_digits(inside) && inside.size() <= 4);
  for (const std::string_view word : {"note ", "nb "})
    if (inside.starts_with(word)) mark = mark || all_digits(inside.substr(word.size()));
  return mark ? close + 1 - at : 0;
}

// Builds cleaned lines character by character.
class Cleaner {
 public:
  Cleaner(std::string& text, bool keep_lines) : text_(text), keep_lines_(keep_lines) {}

  void add(std::string_view value) {
    const auto size = static_cast<int32_t>(value.size());
    for (int32_t at = 0; at < size;) {
      const auto here = static_cast<std::size_t>(at);
      if (value[here] == '[') {
        if (const std::size_t bytes = citation_bytes(value, here)) {
          at += static_cast<int32_t>(bytes);
          continue;
        }
      }
      const UChar32 c = next_character(value, at);
      add_character(c == kNotInUtf8 ? UChar32{0xFFFD} : c,
                    value.substr(here, static_cast<std::size_t>(at) - here));
    }
    if (keep_lines_) end_line();
  }

  void end_line() {
    blank_ = false;
    if (line_.empty()) return;
    text_ += has_marks_ ? to_nfc(line_) : line_;
    if (keep_lines_) text_ += '\n';
    line_.clear();
    has_marks_ = false;
  }

 private:
  void add_character(UChar32 c, std::string_view bytes) {
    if (is_line_break(c) && keep_lines_) {
      end_line();
    } else if (is_blank(c) || is_line_break(c)) {
      blank_ = true;
    } else if (!is_dropped(c)) {
      if (blank_ && !line_.empty()) line_ += ' ';
      blank_ = false;
      line_ += c == 0xFFFD ? kReplacement : bytes;
      has_marks_ = has_marks_ || c >= kFirstMark;
    }
  }

  std::string& text_;
  std::string line_;
  bool keep_lines_, blank_ = false, has_marks_ = false;
};

std::string fold_case(std::string_view text) {
  std::string folded;
  icu::StringByteSink<std::string> sink(&folded);
  UErrorCode code = U_ZERO_ERROR;
  icu::CaseMap::utf8Fold(0, icu::StringPiece(text.data(), static_cast<int32_t>(text.size())), sink,
                         nullptr, code);
  check(code, "folding case");
  return folded;
}

}  // namespace

std::string repair_utf8(std::string_view bytes, std::uint64_t& repaired) {
  if (simdjson::validate_utf8(bytes.data(), bytes.size())) return std::string(bytes);
  std::string text;
  text.reserve(bytes.size());
  const auto size = static_cast<int32_t>(bytes.size());
  for (int32_t at = 0; at < size;) {
    const int32_t from = at;
    if (next_character(bytes, at) == kNotInUtf8) {
      repaired += static_cast<std::uint64_t>(at - from);
      text += kReplacement;
    } else {
      text += bytes.substr(static_cast<std::size_t>(from), static_cast<std::size_t>(at - from));
    }
  }
  return text;
}

void append_clean_lines(std::string_view value, std::string& text) {
  Cleaner(text, true).add(value);
}

std::string clean_line(std::string_view value) {
  std::string line;
  Cleaner cleaner(line, false);
  cleaner.add(value);
  cleaner.end_line();
  return line;
}

std::string section_key(std::string_view name) {
  std::string key = fold_case(clean_line(name));
  while (!key.empty() && (key.back() == ':' || key.back() == ' ')) key.pop_back();
  return key;
}

std::string fold_text(std::string_view text) {
  std::string folded = fold_case(text);
  std::erase_if(folded, [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; });
  return folded;
}

std::uint64_t count_code_points(std::string_view text) {
  return static_cast<std::uint64_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0u) != 0x80u;
  }));
}

}  // namespace refract
