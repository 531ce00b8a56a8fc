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

struct Alphabet {
  std::array<std::int16_t, kAlphabetEnd> byte_of{};  // stand-in -> byte, -1: stands for none
  std::array<std::string, 256> stand_in;             // byte -> stand-in, UTF-8

  Alphabet() {
    byte_of.fill(-1);
    std::uint32_t next = 256;
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t code = stands_for_itself(byte) ? byte : next++;
      byte_of[code] = static_cast<std::int16_t>(byte);
      if (code < 0x80)
        stand_in[byte].push_back(static_cast<char>(code));
      else
        for (const std::uint32_t part : {0xC0u | code >> 6, 0x80u | (code & 0x3Fu)})
          stand_in[byte].push_back(static_cast<char>(part));
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet one;
  return one;
}

}  // namespace

std::optional<std::string> bytes_of_entry(std::string_view entry) {
  const auto& byte_of = alphabet().byte_of;
  std::string bytes;
  for (std::size_t at = 0; at < entry.size();) {
    const auto [code, length] = unicode::decode(entry.data() + at);
    if (code >= kAlphabetEnd || byte_of[code] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte_of[code]));
    at += length;
  }
  return bytes;
}

std::string entry_of_bytes(std::string_view bytes) {
  const auto& stand_in = alphabet().stand_in;
  std::string entry;
  for (const char byte : bytes) entry += stand_in[static_cast<unsigned char>(byte)];
  return entry;
}

}  // namespace refract
