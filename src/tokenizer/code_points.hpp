#pragma once
// Code point -> number, for the few hundred blocks of 256 that a vocabulary uses.
#include <array>
#include <cstdint>
#include <vector>

namespace refract {

class CodePoints {
 public:
  static constexpr std::uint32_t kNone = 0xFFFFFFFFu;

  CodePoints() : block_of_(0x1100, 0), blocks_(1) { blocks_[0].fill(kNone); }

  void set(std::uint32_t code, std::uint32_t value) {
    std::uint16_t& block = block_of_[code >> 8];
    if (block == 0) {
      block = static_cast<std::uint16_t>(blocks_.size());
      blocks_.emplace_back().fill(kNone);
    }
    blocks_[block][code & 0xFFu] = value;
  }
  [[nodiscard]] std::uint32_t at(std::uint32_t code) const {
    return blocks_[block_of_[code >> 8]][code & 0xFFu];
  }

 private:
  std::vector<std::uint16_t> block_of_;  // 0: no code point of the block has a number
  std::vector<std::array<std::uint32_t, 256>> blocks_;
};

}  // namespace refract
