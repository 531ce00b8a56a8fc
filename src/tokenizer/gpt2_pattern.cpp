// A scanner for one pattern, character by character; equality with the regular expression is a
// golden test.
#include "tokenizer/pre_tokenizer.hpp"
#include "tokenizer/unicode_tables.hpp"

namespace refract {
namespace {

using unicode::decode;

constexpr std::uint8_t kKinds = unicode::letter | unicode::number | unicode::space;

class Scanner {
 public:
  explicit Scanner(std::string_view text)
      : text_(text.data()), end_(static_cast<std::uint32_t>(text.size())) {}

  // The end of the word that begins at `at`.
  [[nodiscard]] std::uint32_t next(std::uint32_t at) const {
    if (text_[at] == '\'') {
      if (const std::uint32_t bytes = contraction(at)) return at + bytes;
    }
    // " ?" : one U+0020 may lead letters, numbers or other characters, never further space.
    const std::uint32_t body =
        text_[at] == ' ' && at + 1 < end_ && kind_at(at + 1) != unicode::space ? at + 1 : at;
    const std::uint8_t kind = kind_at(body);
    return kind == unicode::space ? space_end(at) : run_end(body, kind);
  }

 private:
  [[nodiscard]] std::uint8_t kind_at(std::uint32_t at) const {
    return classes_[decode(text_ + at).code] & kKinds;
  }

  [[nodiscard]] std::uint32_t run_end(std::uint32_t at, std::uint8_t kind) const {
    while (at < end_) {
      const auto [code, bytes] = decode(text_ + at);
      if ((classes_[code] & kKinds) != kind) break;
      at += bytes;
    }
    return at;
  }

  // \s+(?!\S)|\s+ : all of the run at the end of the text, else all but its last character, unless
  // it is alone.
  [[nodiscard]] std::uint32_t space_end(std::uint32_t at) const {
    std::uint32_t last = at, after = at;
    while (after < end_) {
      const auto [code, bytes] = decode(text_ + after);
      if ((classes_[code] & kKinds) != unicode::space) break;
      last = after;
      after += bytes;
    }
    return after == end_ || last == at ? after : last;
  }

  // Bytes of 's 't 're 've 'm 'll 'd at `at`, or 0.
  [[nodiscard]] std::uint32_t contraction(std::uint32_t at) const {
    const char first = at + 1 < end_ ? text_[at + 1] : '\0';
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    const char second = at + 2 < end_ ? text_[at + 2] : '\0';
    const bool long_form =
        ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l');
    return long_form ? 3 : 0;
  }

  const char* text_;
  std::uint32_t end_;
  const std::uint8_t* classes_ = unicode::class_table();
};

}  // namespace

void split_gpt2(std::string_view text, std::vector<Word>& words) {
  const Scanner scanner(text);
  for (std::uint32_t at = 0; at < text.size();) {
    const std::uint32_t end = scanner.next(at);
    words.push_back({at, end});
    at = end;
  }
}

}  // namespace refract
