#pragma once
// (left id, right id) -> rank of the merge and id of its result.
#include <cstdint>
#include <vector>

namespace refract {

class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank = kNone;
    std::uint32_t id = 0;
  };
  static constexpr std::uint32_t kNone = 0xFFFFFFFFu;

  void reserve(std::size_t merges);                                // before the first set
  void set(std::uint32_t left, std::uint32_t right, Merge merge);  // replaces
  [[nodiscard]] Merge find(std::uint32_t left, std::uint32_t right) const {
    const std::uint64_t pair = std::uint64_t{left} << 32 | right;
    const std::uint64_t mixed = mix(pair);
    if (!may_hold(mixed)) return {};
    return slots_[slot_of(pair, mixed)].merge;
  }

 private:
  struct Slot {
    std::uint64_t pair = ~std::uint64_t{0};
    Merge merge;
  };
  [[nodiscard]] static std::uint64_t mix(std::uint64_t pair) {
    const std::uint64_t mixed = pair * 0x9E3779B97F4A7C15u;
    return mixed ^ (mixed >> 29);
  }
  // Most pairs that are asked about never merge. One bit of this filter, which fits a cache that
  // the slots do not, says so for seven of eight of them.
  [[nodiscard]] bool may_hold(std::uint64_t mixed) const {
    const std::uint64_t bit = (mixed * 0xFF51AFD7ED558CCDu) >> filter_shift_;
    return (filter_[bit / 64] >> (bit % 64) & 1) != 0;
  }
  [[nodiscard]] std::size_t slot_of(std::uint64_t pair, std::uint64_t mixed) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t slot = static_cast<std::size_t>(mixed) & mask;
    while (slots_[slot].pair != pair && slots_[slot].pair != ~std::uint64_t{0})
      slot = (slot + 1) & mask;
    return slot;
  }

  std::vector<Slot> slots_;  // open addressing, at most half full
  std::vector<std::uint64_t> filter_;
  unsigned filter_shift_ = 0;
};

}  // namespace refract
