#pragma once
// Words repeat (Zipf): tables from short words to their tokens. One pair of them per encoding
// thread: small entries, two in a cache line, for nearly all words of a language, and large ones
// for most of the others.
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/bpe_model.hpp"

namespace refract {

// Words of 1 to kWordBytes bytes and at most kTokens tokens, in 2^kBits buckets of two entries, the
// one that came last in front.
template <std::size_t kKeyWords, std::size_t kTokens_, unsigned kBits>
class WordTable {
 public:
  static constexpr std::size_t kWordBytes = 8 * kKeyWords - 1;
  static constexpr std::size_t kTokens = kTokens_;

  // The word's bytes, zero-padded, and in the last byte its size, with the high bit set for a part
  // of a word: what is taken whole as a word may not be as a part.
  struct Key {
    std::array<std::uint64_t, kKeyWords> words;
    // Not defaulted: that calls memcmp.
    friend bool operator==(const Key& left, const Key& right) {
      std::uint64_t differ = 0;
      for (std::size_t i = 0; i < kKeyWords; ++i) differ |= left.words[i] ^ right.words[i];
      return differ == 0;
    }
  };
  struct Entry {
    Key key{};  // size 0 is no word: an empty entry
    std::array<std::uint32_t, kTokens> id{};
    std::array<std::uint8_t, kTokens> end{};  // of each token in the word
    std::uint8_t tokens = 0;
  };

  WordTable() : buckets_(std::size_t{1} << kBits) {}

  // `readable` bytes may be read from word.data() on.
  [[nodiscard]] static Key key_of(std::string_view word, std::size_t readable, bool is_part) {
    Key key{};
    if (readable >= sizeof(Key)) {
      std::memcpy(key.words.data(), word.data(), sizeof(Key));
      const auto size = static_cast<std::uint64_t>(word.size());
      for (std::uint64_t i = 0; i < kKeyWords; ++i) {
        const std::uint64_t bytes = size > 8 * i ? size - 8 * i : 0;  // of this eight that stay
        const std::uint64_t mask =
            bytes == 0 ? 0 : ~std::uint64_t{0} >> (64 - 8 * (bytes < 8 ? bytes : 8));
        key.words[i] &= mask;
      }
    } else {
      std::memcpy(key.words.data(), word.data(), word.size());
    }
    const std::uint64_t tag = word.size() | (is_part ? 0x80u : 0u);
    key.words.back() |= tag << 56;
    return key;
  }

  // The bucket of a key; its memory is on its way from then on.
  [[nodiscard]] std::uint32_t fetch(const Key& key) const {
    const std::size_t bucket = bucket_of(key);
    __builtin_prefetch(&buckets_[bucket]);
    return static_cast<std::uint32_t>(bucket);
  }

  [[nodiscard]] const Entry* find(const Key& key) const { return find(key, bucket_of(key)); }
  [[nodiscard]] const Entry* find(const Key& key, std::size_t fetched) const {
    const Bucket& bucket = buckets_[fetched];
    if (bucket.entries[0].key == key) return &bucket.entries[0];
    if (bucket.entries[1].key == key) return &bucket.entries[1];
    return nullptr;
  }

  void insert(const Key& key, std::span<const WordToken> tokens) {
    auto& [last, other] = buckets_[bucket_of(key)].entries;
    other = last;
    last.key = key;
    last.tokens = static_cast<std::uint8_t>(tokens.size());
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      last.id[i] = tokens[i].id;
      last.end[i] = static_cast<std::uint8_t>(tokens[i].end);
    }
  }

 private:
  static_assert(std::endian::native == std::endian::little, "key_of masks the upper bytes");
  struct alignas(64) Bucket {
    std::array<Entry, 2> entries;
  };
  [[nodiscard]] static std::size_t bucket_of(const Key& key) {
    std::uint64_t mixed = 0;
    for (const std::uint64_t eight : key.words) {
      mixed = (mixed ^ eight) * 0x9E3779B97F4A7C15u;
      mixed ^= mixed >> 32;
    }
    return static_cast<std::size_t>((mixed * 0xFF51AFD7ED558CCDu) >> (64 - kBits));
  }

  std::vector<Bucket> buckets_;
};

struct WordCache {
  using Small = WordTable<2, 3, 17>;  // 8 MiB
  using Large = WordTable<4, 6, 14>;  // 2 MiB
  Small small;
  Large large;
};

}  // namespace refract
