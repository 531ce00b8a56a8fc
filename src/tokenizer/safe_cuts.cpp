#include "tokenizer/safe_cuts.hpp"

#include <algorithm>

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

// Whether the bytes are one character, of those that a text can hold: an entry's bytes may be any.
bool is_character(std::string_view bytes) {
  if (bytes.empty() || length_from(bytes.front()) != bytes.size()) return false;
  for (std::size_t i = 1; i < bytes.size(); ++i)
    if (!unicode::continues(bytes[i])) return false;
  return unicode::decode(bytes.data()).code < 0x110000;
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
    const std::size_t right_length = std::min(length_from(entry[at]), entry.size() - at);
    if (is_character(entry.substr(left, at - left)) &&
        is_character(entry.substr(at, right_length))) {
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

std::size_t SafeCuts::slot_of(std::uint64_t pair) const {
  const std::size_t mask = pairs_.size() - 1;
  std::size_t slot = hashed(pair) & mask;
  while (pairs_[slot] != pair && pairs_[slot] != kEmpty) slot = (slot + 1) & mask;
  return slot;
}

void SafeCuts::insert(std::uint64_t pair) {
  std::uint64_t& place = pairs_[slot_of(pair)];
  if (place == pair) return;
  place = pair;
  if (2 * ++pair_count_ <= pairs_.size()) return;
  std::vector<std::uint64_t> old(2 * pairs_.size(), kEmpty);
  old.swap(pairs_);
  for (const std::uint64_t kept : old)
    if (kept != kEmpty) pairs_[slot_of(kept)] = kept;
}

bool SafeCuts::may_join(std::uint32_t left, std::uint32_t right) const {
  if (!allowed_[left] || !allowed_[right]) return true;
  if (has_partial_ && partial_[last_byte(left)].test(first_byte(right))) return true;
  if (left < 128 && right < 128) return ascii_[left].test(right);
  if (left >= 128 && right >= 128) return pairs_[slot_of(pair_of(left, right))] != kEmpty;
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
