#include "tokenizer/vocabulary.hpp"

#include <algorithm>
#include <bit>
#include <functional>

#include "refract/base/error.hpp"

namespace refract {

void Vocabulary::reserve(std::size_t entries) {
  by_id_.reserve(entries);
  grow(std::bit_ceil(std::max<std::size_t>(16, 2 * entries)));
}

std::string_view Vocabulary::entry(std::uint32_t id) const {
  if (!has(id)) return {};
  return std::string_view(text_).substr(by_id_[id].begin, by_id_[id].size);
}

std::size_t Vocabulary::slot_of(std::string_view entry_text) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = std::hash<std::string_view>{}(entry_text)&mask;
  while (slots_[slot] != kNone && entry(slots_[slot]) != entry_text) slot = (slot + 1) & mask;
  return slot;
}

void Vocabulary::grow(std::size_t slots) {
  slots_.assign(slots, kNone);
  for (std::uint32_t id = 0; id < end(); ++id)
    if (has(id)) slots_[slot_of(entry(id))] = id;
}

void Vocabulary::add(std::string_view entry_text, std::uint32_t id) {
  if (id >= kMostIds)
    throw DataError("the vocabulary gives '{}' the id {}, ids from {} on are not supported",
                    entry_text, id, kMostIds);
  if (const std::uint32_t old = find(entry_text); old != kNone) {
    if (old == id) return;
    by_id_[old].there = false;
    --entries_;
    grow(slots_.size());  // rare: a key that the file has twice
  }
  if (has(id))
    throw DataError("the vocabulary gives the id {} to '{}' and to '{}'", id, entry(id),
                    entry_text);
  if (2 * (std::size_t{entries_} + 1) > slots_.size())
    grow(std::bit_ceil(std::max<std::size_t>(16, 4 * (std::size_t{entries_} + 1))));
  if (id >= end()) by_id_.resize(std::size_t{id} + 1);
  by_id_[id] = {text_.size(), static_cast<std::uint32_t>(entry_text.size()), true};
  text_.append(entry_text);
  slots_[slot_of(entry_text)] = id;
  ++entries_;
}

std::uint32_t Vocabulary::find(std::string_view entry_text) const {
  return slots_.empty() ? kNone : slots_[slot_of(entry_text)];
}

std::optional<std::uint32_t> Vocabulary::id_of(std::string_view entry_text) const {
  const std::uint32_t id = find(entry_text);
  return id == kNone ? std::nullopt : std::optional(id);
}

}  // namespace refract
