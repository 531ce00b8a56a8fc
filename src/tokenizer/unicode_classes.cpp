#include <vector>

#include "tokenizer/unicode_tables.hpp"

namespace refract::unicode {

const std::uint8_t* class_table() {
  static const std::vector<std::uint8_t> table = [] {
    std::vector<std::uint8_t> classes(0x110000, 0);
    const auto mark = [&classes](std::span<const Range> ranges, Class bit) {
      for (const Range& range : ranges)
        for (std::uint32_t code = range.first; code <= range.last; ++code)
          classes[code] = static_cast<std::uint8_t>(classes[code] | bit);
    };
    mark(kLetters, letter);
    mark(kNumbers, number);
    mark(kSpaces, space);
    mark(kWordCharacters, word);
    mark(kDigits, numeric);
    return classes;
  }();
  return table.data();
}

}  // namespace refract::unicode
