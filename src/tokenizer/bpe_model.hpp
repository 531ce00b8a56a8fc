#pragma once
// Third component of the pipeline: the bytes of a word -> ids, by merges of lowest rank first,
// leftmost on ties.
#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace refract {

// A token and the bytes of the word it covers.
struct WordToken {
  std::uint32_t id;
  std::uint32_t begin;
  std::uint32_t end;
};

// (left id, right id) -> rank of the merge and id of its result; open addressing.
class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank = kNone;
    std::uint32_t id = 0;
  };
  static constexpr std::uint32_t kNone = 0xFFFFFFFFu;

  void reserve(std::size_t merges);                                // before the first set
  void set(std::uint32_t left, std::uint32_t right, Merge merge);  // replaces
  [[nodiscard]] Merge find(std::uint32_t left, std::uint32_t right) const;

 private:
  struct Slot {
    std::uint64_t pair = ~std::uint64_t{0};
    Merge merge;
  };
  [[nodiscard]] std::size_t slot_of(std::uint64_t pair) const;
  std::vector<Slot> slots_;
  unsigned shift_ = 0;
};

class BpeModel {
 public:
  // The "model" block of a byte-level tokenizer.json. DataError names what is not supported.
  explicit BpeModel(const nlohmann::json& block);

  // Appends the word's tokens. A byte without an entry vanishes, as in Hugging Face.
  void encode(std::string_view word, std::vector<WordToken>& out) const;

  [[nodiscard]] std::optional<std::uint32_t> id_of(std::string_view entry) const;
  [[nodiscard]] std::uint32_t entries() const { return static_cast<std::uint32_t>(id_of_.size()); }
  // Bytes by id; ids need not be dense.
  [[nodiscard]] const std::unordered_map<std::uint32_t, std::string>& bytes() const {
    return bytes_;
  }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };
  void read_vocabulary(const nlohmann::json& vocabulary);
  void read_merges(const nlohmann::json& merges);
  void check_alphabet(const nlohmann::json& block) const;
  // Merge in place and return how many symbols are left, at the front.
  [[nodiscard]] std::size_t merge_short(std::span<WordToken> symbols) const;
  [[nodiscard]] std::size_t merge_long(std::span<WordToken> symbols) const;

  std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>>
      id_of_;  // entries as spelled
  std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>>
      whole_;  // bytes -> id, if ignore_merges
  std::unordered_map<std::uint32_t, std::string> bytes_;
  std::array<std::uint32_t, 256> byte_id_;
  MergeTable merges_;
  bool ignore_merges_ = false;
};

}  // namespace refract
