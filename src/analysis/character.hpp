#pragma once
// The characters of UTF-8 text, one after the other.
#include <unicode/utf8.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace refract {

struct Character {
  UChar32 code = -1;  // -1: ill-formed
  std::size_t end = 0;
};

// The one that begins at `at`, which is before the text's end.
inline Character character_at(std::string_view text, std::size_t at) {
  if (const auto byte = static_cast<unsigned char>(text[at]); byte < 0x80) return {byte, at + 1};
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(text.data());
  auto offset = static_cast<std::int32_t>(at);
  UChar32 code = -1;
  U8_NEXT(bytes, offset, static_cast<std::int32_t>(text.size()), code);
  return {code, static_cast<std::size_t>(offset)};
}

}  // namespace refract
