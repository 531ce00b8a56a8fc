#pragma once
// The entries of a model's vocabulary as the file spells them, both ways.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace refract {

class Vocabulary {
 public:
  static constexpr std::uint32_t kNone = 0xFFFFFFFFu;
  static constexpr std::uint32_t kMostIds = 1u << 24;  // sixty times the largest in use

  void reserve(std::size_t entries);
  // An entry that is there takes the new id, as in the library. DataError for an id from kMostIds
  // on, or one that another entry has.
  void add(std::string_view entry, std::uint32_t id);

  [[nodiscard]] std::uint32_t find(std::string_view entry) const;  // kNone: not there
  [[nodiscard]] std::optional<std::uint32_t> id_of(std::string_view entry) const;
  [[nodiscard]] std::string_view entry(std::uint32_t id) const;  // "" for a hole
  [[nodiscard]] bool has(std::uint32_t id) const { return id < end() && by_id_[id].there; }
  [[nodiscard]] std::uint32_t entries() const { return entries_; }
  // The largest id + 1; there may be holes.
  [[nodiscard]] std::uint32_t end() const { return static_cast<std::uint32_t>(by_id_.size()); }

 private:
  struct Place {
    std::uint64_t begin = 0;
    std::uint32_t size = 0;
    bool there = false;
  };
  [[nodiscard]] std::size_t slot_of(std::string_view entry) const;
  void grow(std::size_t slots);

  std::string text_;  // of all entries
  std::vector<Place> by_id_;
  std::vector<std::uint32_t> slots_;  // ids, kNone where empty; open addressing by the entry's hash
  std::uint32_t entries_ = 0;
};

}  // namespace refract
