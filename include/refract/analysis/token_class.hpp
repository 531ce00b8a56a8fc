#pragma once
// What kind of text a token is, from its bytes alone: so that a number can be told apart by it.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace refract {

enum class TokenClass : std::uint8_t {
  word_start,   // " the", "(the", ".com": letters, and what stands before them ends a word
  inside_word,  // "ing", "The", "'s": letters, and nothing that ends a word before them. Also a
                // word at the very beginning of a text or a line: its bytes do not tell
  number,       // "12", " 1st": begins with a digit or another number
  punctuation,  // "!", " --", "$": begins with a mark or sign, no letter behind it
  white_space,  // " ", "\n\n", "\t"
  other         // control characters, part of a character, nothing at all
};
inline constexpr std::size_t kTokenClasses = 6;
inline constexpr std::array<std::string_view, kTokenClasses> kTokenClassNames = {
    "word_start", "inside_word", "number", "punctuation", "white_space", "other"};

// The first character that is no white space decides; a mark or sign before a letter is taken as
// white space, but for an apostrophe with nothing before it. Letters, numbers and white space are
// those of Unicode; a combining mark counts as a letter.
[[nodiscard]] TokenClass token_class(std::string_view bytes);

}  // namespace refract
