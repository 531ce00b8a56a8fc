#pragma once
// What the scanners of patterns share: classes of characters, the ends of their runs.
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "tokenizer/pre_tokenizer.hpp"
#include "tokenizer/unicode_tables.hpp"

namespace refract {

class Scanner {
 public:
  static constexpr std::uint8_t kOther = 0;  // neither letter nor number nor space

  explicit Scanner(std::string_view text)
      : text_(text.data()), end_(static_cast<std::uint32_t>(text.size())) {}

 protected:
  // letter, number, space or kOther.
  [[nodiscard]] std::uint8_t kind_at(std::uint32_t at) const {
    return classes_[unicode::decode(text_ + at).code] & kKinds;
  }
  [[nodiscard]] bool is(std::uint32_t at, char byte) const {
    return at < end_ && text_[at] == byte;
  }
  [[nodiscard]] bool newline_at(std::uint32_t at) const { return is(at, '\n') || is(at, '\r'); }
  [[nodiscard]] std::uint32_t after(std::uint32_t at) const {
    return at + unicode::decode(text_ + at).bytes;
  }

  [[nodiscard]] std::uint32_t run_end(std::uint32_t at, std::uint8_t kind) const {
    while (at < end_) {
      const auto [code, bytes] = unicode::decode(text_ + at);
      if ((classes_[code] & kKinds) != kind) break;
      at += bytes;
    }
    return at;
  }

  // run_end of letters, eight ASCII letters at a time: most words end in the first eight bytes, and
  // a loop over them would be mispredicted once per word.
  [[nodiscard]] std::uint32_t letters_end(std::uint32_t at) const {
    for (;;) {
      if (at + 8 <= end_) {
        const std::uint64_t others = not_ascii_letters(text_ + at);
        if (others == 0) {
          at += 8;
          continue;
        }
        at += static_cast<std::uint32_t>(std::countr_zero(others)) / 8;
        if (static_cast<unsigned char>(text_[at]) < 0x80) return at;
      }
      if (at >= end_) return at;
      const auto [code, bytes] = unicode::decode(text_ + at);
      if ((classes_[code] & unicode::letter) == 0) return at;
      at += bytes;
    }
  }

  // \s+(?!\S)|\s+ : all of the run at the end of the text, else all but its last character, unless
  // it is alone.
  [[nodiscard]] std::uint32_t space_end(std::uint32_t at) const {
    std::uint32_t last = at, next = at;
    while (next < end_ && kind_at(next) == unicode::space) {
      last = next;
      next = after(next);
    }
    return next == end_ || last == at ? next : last;
  }

  const char* text_;
  std::uint32_t end_;

 private:
  static constexpr std::uint8_t kKinds = unicode::letter | unicode::number | unicode::space;

  // The high bit of each of eight bytes that is no ASCII letter, the first byte lowest.
  [[nodiscard]] static std::uint64_t not_ascii_letters(const char* at) {
    constexpr std::uint64_t kOnes = 0x0101010101010101u;
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, at, sizeof bytes);
    if constexpr (std::endian::native == std::endian::big) bytes = __builtin_bswap64(bytes);
    const std::uint64_t low = (bytes | 0x20 * kOnes) & 0x7F * kOnes;
    const std::uint64_t from_a = low + (0x80 - 'a') * kOnes, past_z = low + (0x7F - 'z') * kOnes;
    return ~(from_a & ~past_z & ~bytes) & 0x80 * kOnes;
  }

  const std::uint8_t* classes_ = unicode::class_table();
};

// Cuts a piece by a scanner's next(begin) -> end.
template <typename Pattern>
void split_with(const Pattern& pattern, const Piece& piece, WordConsumer& next) {
  WordBatch words(piece, next);
  const auto size = static_cast<std::uint32_t>(piece.bytes.size());
  for (std::uint32_t at = 0; at < size;) {
    const std::uint32_t end = pattern.next(at);
    words.add(at, end);
    at = end;
  }
  words.finish();
}

}  // namespace refract
