#include "tokenizer/pattern.hpp"
#include "tokenizer/scanner.hpp"

namespace refract {
namespace {

class Gpt2Pattern : public Scanner {
 public:
  using Scanner::Scanner;

  // The end of the word that begins at `at`.
  [[nodiscard]] std::uint32_t next(std::uint32_t at) const {
    if (text_[at] == '\'') {
      if (const std::uint32_t bytes = contraction(at)) return at + bytes;
    }
    // " ?" : one U+0020 may lead letters, numbers or other characters, never further space.
    std::uint32_t body = at;
    std::uint8_t kind = kind_at(at);
    if (text_[at] == ' ' && at + 1 < end_) {
      const std::uint8_t led = kind_at(at + 1);
      if (led != unicode::space) {
        body = at + 1;
        kind = led;
      }
    }
    if (kind == unicode::letter) return letters_end(body);
    return kind == unicode::space ? space_end(at) : run_end(body, kind);
  }

 private:
  // Bytes of 's 't 're 've 'm 'll 'd at `at`, or 0.
  [[nodiscard]] std::uint32_t contraction(std::uint32_t at) const {
    const char first = at + 1 < end_ ? text_[at + 1] : '\0';
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    const bool long_form =
        ((first == 'r' || first == 'v') && is(at + 2, 'e')) || (first == 'l' && is(at + 2, 'l'));
    return long_form ? 3 : 0;
  }
};

}  // namespace

void split_gpt2(const Piece& piece, WordConsumer& next) {
  split_with(Gpt2Pattern(piece.bytes), piece, next);
}

}  // namespace refract
