#include "tokenizer/byte_level.hpp"

#include <array>
#include <cstdint>

#include "tokenizer/unicode_tables.hpp"

namespace refract {
namespace {

constexpr std::uint32_t kAlphabetEnd = 256 + 68;

bool stands_for_itself(std::uint32_t byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) ||
         (byte >= 174 && byte <= 255);
}

// Stand-in -> byte, -1 where a code point stands for none.
std::array<std::int16_t, kAlphabetEnd> make_alphabet() {
  std::array<std::int16_t, kAlphabetEnd> byte_of{};
  byte_of.fill(-1);
  std::uint32_t next = 256;
  for (std::uint32_t byte = 0; byte < 256; ++byte)
    byte_of[stands_for_itself(byte) ? byte : next++] = static_cast<std::int16_t>(byte);
  return byte_of;
}

}  // namespace

std::optional<std::string> bytes_of_entry(std::string_view entry) {
  static const auto byte_of = make_alphabet();
  std::string bytes;
  for (std::size_t at = 0; at < entry.size();) {
    const auto [code, length] = unicode::decode(entry.data() + at);
    if (code >= kAlphabetEnd || byte_of[code] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte_of[code]));
    at += length;
  }
  return bytes;
}

}  // namespace refract
