#pragma once
// Words repeat (Zipf): a direct-mapped table from short words to their tokens. One per encoding
// thread.
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "tokenizer/bpe_model.hpp"

namespace refract {

class WordCache {
 public:
  static constexpr std::size_t kWordBytes = 15;
  static constexpr std::size_t kTokens = 4;

  struct Key {
    std::uint64_t low = 0, high = 0;  // the bytes, zero-padded; the length in the last byte
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Entry {
    Key key;  // length 0 is no word: an empty entry
    std::array<std::uint32_t, kTokens> id{};
    std::array<std::uint8_t, kTokens> end{};  // of each token in the word
    std::uint8_t tokens = 0;
  };

  WordCache() : entries_(kEntries) {}

  // A word of 1 to kWordBytes bytes.
  [[nodiscard]] static Key key_of(std::string_view word) {
    std::array<char, 16> bytes{};
    std::memcpy(bytes.data(), word.data(), word.size());
    bytes[15] = static_cast<char>(word.size());
    Key key;
    std::memcpy(&key.low, bytes.data(), 8);
    std::memcpy(&key.high, bytes.data() + 8, 8);
    return key;
  }

  [[nodiscard]] Entry& entry(const Key& key) {
    const std::uint64_t mixed = (key.low ^ (key.high * 0xFF51AFD7ED558CCDu)) * 0x9E3779B97F4A7C15u;
    return entries_[static_cast<std::size_t>(mixed >> (64 - kBits))];
  }

  static void fill(Entry& entry, const Key& key, const WordToken* tokens, std::size_t count) {
    entry.key = key;
    entry.tokens = static_cast<std::uint8_t>(count);
    for (std::size_t i = 0; i < count; ++i) {
      entry.id[i] = tokens[i].id;
      entry.end[i] = static_cast<std::uint8_t>(tokens[i].end);
    }
  }

 private:
  static constexpr unsigned kBits = 15;
  static constexpr std::size_t kEntries = std::size_t{1} << kBits;
  std::vector<Entry> entries_;
};

}  // namespace refract
