#pragma once
// Which slots of a context become rows: all | last | nth_last: n | middle | random: n, per document
// segment in packed and document, per context in concat (SPEC 1).
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "refract/store/contexts.hpp"

namespace refract {

struct RowRule {
  enum class Kind { all, last, nth_last, middle, random } kind = Kind::all;
  std::uint32_t n = 1;  // nth_last counts from 1 (= last); random draws n distinct slots
};

[[nodiscard]] RowRule parse_row_rule(const std::string& text);  // ConfigError lists the forms

// Names a context in the corpus; the high half is its shard's ordinal.
[[nodiscard]] constexpr std::uint64_t context_key(std::uint64_t shard, std::uint64_t context) {
  return shard << 32 | context;
}

// Selected slots of the context that `segments` fill, ascending. `all` takes every slot, padding
// included; the other rules never take padding or a BOS. `key` (context_key) and `seed` fix the
// draw of `random`.
[[nodiscard]] std::vector<std::uint32_t> select_slots(const RowRule& rule,
                                                      const ContextFormat& format,
                                                      std::span<const Segment> segments,
                                                      std::uint64_t key, std::uint64_t seed);

}  // namespace refract
