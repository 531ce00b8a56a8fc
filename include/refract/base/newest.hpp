#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace refract {

// 1 for each item that is left when of all with one key only that of the highest revision is kept,
// of equal ones the first.
template <typename Key>
[[nodiscard]] std::vector<std::uint8_t> keep_newest(std::span<const Key> keys,
                                                    std::span<const std::uint64_t> revisions) {
  std::vector<std::uint8_t> keep(keys.size(), 1);
  std::unordered_map<Key, std::size_t> newest;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto [found, fresh] = newest.try_emplace(keys[i], i);
    if (fresh) continue;
    const bool newer = revisions[i] > revisions[found->second];
    keep[newer ? found->second : i] = 0;
    if (newer) found->second = i;
  }
  return keep;
}

}  // namespace refract
