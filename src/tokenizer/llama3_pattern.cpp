#include "tokenizer/pattern.hpp"
#include "tokenizer/scanner.hpp"

namespace refract {
namespace {

template <int kMostDigits>
class Llama3Pattern : public Scanner {
 public:
  using Scanner::Scanner;

  // The end of the word that begins at `at`: the alternatives in their order.
  [[nodiscard]] std::uint32_t next(std::uint32_t at) const {
    if (text_[at] == '\'') {
      if (const std::uint32_t bytes = contraction(at)) return at + bytes;
    }
    const std::uint8_t kind = kind_at(at);
    if (kind == unicode::letter) return letters_end(at);
    if (kind == unicode::number) return digits_end(at);
    const std::uint32_t second = after(at);
    const std::uint8_t led = second < end_ ? kind_at(second) : std::uint8_t{unicode::space};
    if (led == unicode::letter && !newline_at(at)) return letters_end(second);
    if (kind == kOther) return others_end(at);
    if (text_[at] == ' ' && led == kOther) return others_end(second);
    return blank_end(at);
  }

 private:
  [[nodiscard]] std::uint32_t digits_end(std::uint32_t at) const {
    for (int digits = 0; digits < kMostDigits && at < end_ && kind_at(at) == unicode::number;
         ++digits)
      at = after(at);
    return at;
  }

  // [^\s\p{L}\p{N}]+[\r\n]*
  [[nodiscard]] std::uint32_t others_end(std::uint32_t at) const {
    at = run_end(at, kOther);
    while (newline_at(at)) ++at;
    return at;
  }

  // \s*[\r\n]+|\s+(?!\S)|\s+ : up to the last newline of the run, if it has one.
  [[nodiscard]] std::uint32_t blank_end(std::uint32_t at) const {
    std::uint32_t behind_newline = 0;
    for (std::uint32_t next = at; next < end_ && kind_at(next) == unicode::space;) {
      const bool newline = newline_at(next);
      next = after(next);
      if (newline) behind_newline = next;
    }
    return behind_newline != 0 ? behind_newline : space_end(at);
  }

  // Bytes of (?i:'s|'t|'re|'ve|'m|'ll|'d) at `at`, or 0. U+017F, the long s, is an s in another
  // case; no other character beyond ASCII folds to one of these letters.
  [[nodiscard]] std::uint32_t contraction(std::uint32_t at) const {
    const char first = lower(at + 1);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    if (is(at + 1, '\xC5') && is(at + 2, '\xBF')) return 3;
    const char second = lower(at + 2);
    const bool long_form =
        ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l');
    return long_form ? 3 : 0;
  }

  [[nodiscard]] char lower(std::uint32_t at) const {
    const char byte = at < end_ ? text_[at] : '\0';
    return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + ('a' - 'A')) : byte;
  }
};

}  // namespace

void split_llama3(const Piece& piece, WordConsumer& next) {
  split_with(Llama3Pattern<3>(piece.bytes), piece, next);
}

void split_qwen2(const Piece& piece, WordConsumer& next) {
  split_with(Llama3Pattern<1>(piece.bytes), piece, next);
}

}  // namespace refract
