#pragma once
// Character classes as Hugging Face `tokenizers` knows them (Oniguruma's, Unicode 16.0; no Debian
// 12 library has that version). Data: make_unicode_tables.py.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace refract::unicode {

struct Range {
  std::uint32_t first;
  std::uint32_t last;  // included
};

extern const std::span<const Range> kLetters;         // \p{L}
extern const std::span<const Range> kNumbers;         // \p{N}
extern const std::span<const Range> kSpaces;          // \s
extern const std::span<const Range> kDigits;          // of the pre-tokenizer Digits
extern const std::span<const Range> kWordCharacters;  // \w beside added tokens

enum Class : std::uint8_t { letter = 1, number = 2, space = 4, word = 8, numeric = 16 };

// For each code point below 0x110000 the classes it belongs to; built once, about 1.1 MB.
[[nodiscard]] const std::uint8_t* class_table();

struct Decoded {
  std::uint32_t code;
  std::uint32_t bytes;
};

// The character that begins at `at`; the text is valid UTF-8 and `at` a character boundary before
// its end.
[[nodiscard]] inline Decoded decode(const char* at) {
  const auto byte = [at](int i) {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(at[i]));
  };
  const std::uint32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  if (first < 0xE0) return {(first & 0x1Fu) << 6 | (byte(1) & 0x3Fu), 2};
  if (first < 0xF0) return {(first & 0xFu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu), 3};
  return {
      (first & 0x7u) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 | (byte(3) & 0x3Fu),
      4};
}

// Whether a byte of UTF-8 belongs to the character that the byte before belongs to.
[[nodiscard]] inline bool continues(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0u) == 0x80u;
}

[[nodiscard]] inline std::size_t characters(std::string_view text) {
  std::size_t count = 0;
  for (const char byte : text) count += continues(byte) ? 0 : 1;
  return count;
}

}  // namespace refract::unicode
