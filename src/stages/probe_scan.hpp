#pragma once
// Activations of a set of rows, turned from row order into feature order.
#include <cstdint>
#include <span>
#include <vector>

#include "refract/stages/probe.hpp"

namespace refract {

// Entries starts[f] .. starts[f+1] belong to feature f, rows ascending; values are > 0.
struct FeatureActs {
  std::vector<std::uint64_t> starts;  // [F + 1]
  std::vector<std::uint32_t> rows;    // [E] index into the corpus's rows
  std::vector<float> values;          // [E]
  std::uint64_t included_rows = 0;

  [[nodiscard]] std::span<const std::uint32_t> rows_of(std::size_t f) const {
    return std::span(rows).subspan(starts[f], starts[f + 1] - starts[f]);
  }
  [[nodiscard]] std::span<const float> values_of(std::size_t f) const {
    return std::span(values).subspan(starts[f], starts[f + 1] - starts[f]);
  }
};

// Reads the pieces panel by panel, scales, encodes; rows excluded for a hook take part in nothing.
struct Scan {
  FeatureActs training, heldout;
};
[[nodiscard]] Scan scan(const ProbeCorpus& corpus, const ProbeTarget& target);

}  // namespace refract
