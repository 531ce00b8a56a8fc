#include "tokenizer/safe_cuts.hpp"

#include "tokenizer/unicode_tables.hpp"

namespace refract {
namespace {

constexpr std::uint64_t kEmpty = ~std::uint64_t{0};

// Bytes of the character that begins with this byte; 0 when none does.
std::size_t length_from(char first) {
  const auto byte = static_cast<unsigned char>(first);
  if (byte < 0x80) return 1;
  if (byte < 0xC2 || byte > 0xF4) return 0;
  return byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

// The last byte of a code point's UTF-8, and the first.
std::uint8_t last_byte(std::uint32_t code) {
  return static_cast<std::uint8_t>(code < 0x80 ? code : 0x80u | (code & 0x3Fu));
}
std::uint8_t first_byte(std::uint32_t code) {
  if (code < 0x80) return static_cast<std::uint8_t>(code);
  if (code < 0x800) return static_cast<std::uint8_t>(0xC0u | code >> 6);
  if (code < 0x10000) return static_cast<std::uint8_t>(0xE0u | code >> 12);
  return static_cast<std::uint8_t>(0xF0u | code >> 18);
}

std::uint64_t pair_of(std::uint32_t left, std::uint32_t right) {
  return std::uint64_t{left} << 21 | right;
}

std::size_t hashed(std::uint64_t pair) {
  return static_cast<std::size_t>((pair * 0x9E3779B97F4A7C15u) >> 32);
}

}  // namespace

SafeCuts::SafeCuts() : allowed_(0x110000, false), pairs_(1024, kEmpty), partial_(256) {}

void SafeCuts::note(std::string_view entry) {
  // Every boundary in front of a byte that begins a character.
  for (std::size_t at = 1; at < entry.size(); ++at) {
    if (unicode::continues(entry[at])) continue;
    std::size_t left = at - 1;
    while (left > 0 && unicode::continues(entry[left])) --left;
    const bool left_whole = length_from(entry[left]) == at - left;
    const std::size_t right_length = length_from(entry[at]);
    bool right_whole = right_length != 0 && at + right_length <= entry.size();
    for (std::size_t i = 1; right_whole && i < right_length; ++i)
      right_whole = unicode::continues(entry[at + i]);
    if (left_whole && right_whole) {
      join(unicode::decode(entry.data() + left).code, unicode::decode(entry.data() + at).code);
    } else {
      partial_[static_cast<unsigned char>(entry[at - 1])].set(
          static_cast<unsigned char>(entry[at]));
      has_partial_ = true;
    }
  }
}

std::uint32_t SafeCuts::row_of(std::uint32_t code) {
  if (row_.at(code) == CodePoints::kNone) {
    row_.set(code, static_cast<std::uint32_t>(before_.size()));
    before_.emplace_back();
    after_.emplace_back();
  }
  return row_.at(code);
}

void SafeCuts::join(std::uint32_t left, std::uint32_t right) {
  if (left < 128 && right < 128)
    ascii_[left].set(right);
  else if (left < 128)
    before_[row_of(right)].set(left);
  else if (right < 128)
    after_[row_of(left)].set(right);
  else
    insert(pair_of(left, right));
}

bool SafeCuts::holds(std::uint64_t pair) const {
  const std::size_t mask = pairs_.size() - 1;
  for (std::size_t slot = hashed(pair) & mask;; slot = (slot + 1) & mask) {
    if (pairs_[slot] == pair) return true;
    if (pairs_[slot] == kEmpty) return false;
  }
}

void SafeCuts::insert(std::uint64_t pair) {
  if (holds(pair)) return;
  if (2 * ++pair_count_ > pairs_.size()) {
    std::vector<std::uint64_t> old(2 * pairs_.size(), kEmpty);
    old.swap(pairs_);
    for (const std::uint64_t kept : old) {
      if (kept == kEmpty) continue;
      std::size_t slot = hashed(kept) & (pairs_.size() - 1);
      while (pairs_[slot] != kEmpty) slot = (slot + 1) & (pairs_.size() - 1);
      pairs_[slot] = kept;
    }
  }
  std::size_t slot = hashed(pair) & (pairs_.size() - 1);
  while (pairs_[slot] != kEmpty) slot = (slot + 1) & (pairs_.size() - 1);
  pairs_[slot] = pair;
}

bool SafeCuts::may_join(std::uint32_t left, std::uint32_t right) const {
  if (!allowed_[left] || !allowed_[right]) return true;
  if (has_partial_ && partial_[last_byte(left)].test(first_byte(right))) return true;
  if (left < 128 && right < 128) return ascii_[left].test(right);
  if (left >= 128 && right >= 128) return holds(pair_of(left, right));
  const std::uint32_t row = row_.at(left < 128 ? right : left);
  if (row == CodePoints::kNone) return false;
  return left < 128 ? before_[row].test(left) : after_[row].test(right);
}

std::uint32_t SafeCuts::part_end(std::string_view word, std::uint32_t begin) const {
  const auto end = static_cast<std::uint32_t>(word.size());
  auto left = unicode::decode(word.data() + begin);
  std::uint32_t at = begin + left.bytes;
  while (at < end) {
    const auto right = unicode::decode(word.data() + at);
    if (!may_join(left.code, right.code)) break;
    at += right.bytes;
    left = right;
  }
  return at;
}

}  // namespace refract
