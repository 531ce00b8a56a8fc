#pragma once
// Places inside a word where no merge can ever reach across, so that the word may be cut there and
// its parts encoded alone, with the same ids. A merge makes an entry of the vocabulary; where no
// entry holds the character x directly before y, no merge joins an x to a y that follows it. So
// words of any length (Gemma's are whole lines) fall into parts that repeat, and a cache of short
// words serves them. (The theorem is stated in toks, docs/algorithms/spm_bpe.md.)
#include <array>
#include <bitset>
#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizer/code_points.hpp"

namespace refract {

class SafeCuts {
 public:
  SafeCuts();

  // An entry as the words spell it; it may begin or end within a character. All are noted before
  // the first cut.
  void note(std::string_view entry);
  // Only beside characters with symbols of their own may a word be cut: what is unknown may become
  // one token with its neighbours.
  void allow(std::uint32_t code) { allowed_[code] = true; }

  // The end of the first part of word[begin, end).
  [[nodiscard]] std::uint32_t part_end(std::string_view word, std::uint32_t begin) const;

 private:
  [[nodiscard]] bool may_join(std::uint32_t left, std::uint32_t right) const;
  void join(std::uint32_t left, std::uint32_t right);
  [[nodiscard]] std::size_t slot_of(std::uint64_t pair) const;
  void insert(std::uint64_t pair);

  [[nodiscard]] std::uint32_t row_of(std::uint32_t code);

  using Ascii = std::bitset<128>;
  std::vector<bool> allowed_;
  std::array<Ascii, 128> ascii_{};     // [left][right]: both ASCII
  CodePoints row_;                     // of a character beyond, in the next two
  std::vector<Ascii> before_, after_;  // which ASCII may join it from the left, from the right
  std::vector<std::uint64_t> pairs_;   // left << 21 | right, both beyond; open addressing
  std::size_t pair_count_ = 0;
  // Where an entry holds only a part of a character on a side: its last byte, and the first byte of
  // what follows. Coarser than pairs of characters, and rare.
  std::vector<std::bitset<256>> partial_;
  bool has_partial_ = false;
};

}  // namespace refract
