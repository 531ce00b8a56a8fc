#include "tokenizer/merge_table.hpp"

#include <algorithm>
#include <bit>

namespace refract {

void MergeTable::reserve(std::size_t merges) {
  const std::size_t slots = std::bit_ceil(std::max<std::size_t>(16, 2 * merges));
  slots_.assign(slots, Slot{});
  const std::size_t bits = 8 * slots;  // a merge in sixteen or more
  filter_.assign(bits / 64, 0);
  filter_shift_ = 64u - static_cast<unsigned>(std::countr_zero(bits));
}

void MergeTable::set(std::uint32_t left, std::uint32_t right, Merge merge) {
  const std::uint64_t pair = std::uint64_t{left} << 32 | right;
  const std::uint64_t mixed = mix(pair);
  slots_[slot_of(pair, mixed)] = {pair, merge};
  const std::uint64_t bit = (mixed * 0xFF51AFD7ED558CCDu) >> filter_shift_;
  filter_[bit / 64] |= std::uint64_t{1} << (bit % 64);
}

}  // namespace refract
