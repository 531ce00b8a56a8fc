#include "refract/order/row_rule.hpp"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "refract/base/error.hpp"
#include "refract/base/random.hpp"

namespace refract {

RowRule parse_row_rule(const std::string& text) {
  using Kind = RowRule::Kind;
  if (text == "all") return {Kind::all};
  if (text == "last") return {Kind::last};
  if (text == "middle") return {Kind::middle};
  for (const auto& [word, kind] :
       {std::pair{std::string("nth_last: "), Kind::nth_last}, {"random: ", Kind::random}}) {
    if (!text.starts_with(word)) continue;
    std::uint32_t n = 0;
    const auto [end, error] =
        std::from_chars(text.data() + word.size(), text.data() + text.size(), n);
    if (error == std::errc() && end == text.data() + text.size() && n > 0) return {kind, n};
  }
  throw ConfigError(
      "rows.take is '{}'; allowed: all, last, {{nth_last: n}}, middle, {{random: n}} with n of at "
      "least 1",
      text);
}

namespace {

// The slots one segment (or, in concat, one context) offers to a rule: real tokens only.
void choose(const RowRule& rule, const std::vector<std::uint32_t>& offered, std::uint64_t key,
            std::uint64_t seed, std::uint64_t part, std::vector<std::uint32_t>& out) {
  if (offered.empty()) return;
  switch (rule.kind) {
    case RowRule::Kind::all: break;  // handled by select_slots
    case RowRule::Kind::last: out.push_back(offered.back()); break;
    case RowRule::Kind::nth_last:
      if (offered.size() >= rule.n) out.push_back(offered[offered.size() - rule.n]);
      break;
    case RowRule::Kind::middle: out.push_back(offered[offered.size() / 2]); break;
    case RowRule::Kind::random: {
      const std::vector<std::uint32_t> order =
          permutation(static_cast<std::uint32_t>(offered.size()),
                      CounterRng(Purpose::random_rows, {seed, key, part}));
      for (std::size_t i = 0; i < std::min<std::size_t>(rule.n, order.size()); ++i)
        out.push_back(offered[order[i]]);
      break;
    }
  }
}

}  // namespace

std::vector<std::uint32_t> select_slots(const RowRule& rule, const ContextFormat& format,
                                        std::span<const Segment> segments, std::uint64_t key,
                                        std::uint64_t seed) {
  std::vector<std::uint32_t> slots;
  if (rule.kind == RowRule::Kind::all) {
    slots.resize(format.length);
    std::iota(slots.begin(), slots.end(), 0u);
    return slots;
  }
  std::vector<std::uint32_t> offered;
  std::uint64_t part = 0;
  for (const Segment& segment : segments) {
    for (std::uint32_t i = segment.bos; i < segment.length; ++i)
      offered.push_back(segment.slot + i);
    if (format.packing == "concat") continue;
    choose(rule, offered, key, seed, part++, slots);
    offered.clear();
  }
  choose(rule, offered, key, seed, part, slots);
  std::sort(slots.begin(), slots.end());
  return slots;
}

}  // namespace refract
