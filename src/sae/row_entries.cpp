#include "sae/row_entries.hpp"

#include <algorithm>
#include <numeric>

namespace refract {

void RowEntries::reset(std::size_t rows, std::size_t row_capacity) {
  capacity = row_capacity;
  counts.assign(rows, 0);
  features.resize(rows * capacity);
  values.resize(rows * capacity);
  dots.resize(rows * capacity);
}

void RowEntries::compress(SparseActs& acts) const {
  acts.row_starts.resize(counts.size() + 1);
  acts.row_starts[0] = 0;
  std::inclusive_scan(counts.begin(), counts.end(), acts.row_starts.begin() + 1, std::plus<>(),
                      std::uint64_t{0});
  acts.features.resize(acts.row_starts.back());
  acts.values.resize(acts.row_starts.back());
  for (std::size_t row = 0; row < counts.size(); ++row) {
    const std::size_t from = row * capacity, to = acts.row_starts[row];
    std::copy_n(features.begin() + static_cast<std::ptrdiff_t>(from), counts[row],
                acts.features.begin() + static_cast<std::ptrdiff_t>(to));
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(from), counts[row],
                acts.values.begin() + static_cast<std::ptrdiff_t>(to));
  }
}

void RowEntries::compress_gradients(float factor, float offset,
                                    std::vector<float>& pre_grads) const {
  pre_grads.clear();
  for (std::size_t row = 0; row < counts.size(); ++row)
    for (std::size_t j = 0; j < counts[row]; ++j)
      pre_grads.push_back(factor * dots[row * capacity + j] + offset);
}

}  // namespace refract
