#pragma once
// Up to `capacity` (feature, value, gradient) entries for each row, filled by rows in any order.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "refract/sae/variant.hpp"

namespace refract {

// One row's entries, features ascending.
struct RowView {
  std::size_t count = 0;
  std::uint32_t* features = nullptr;
  float* values = nullptr;
  float* dots = nullptr;  // row error . W_dec[feature]
};

struct RowEntries {
  std::size_t capacity = 0;
  std::vector<std::uint32_t> counts;    // [n]
  std::vector<std::uint32_t> features;  // [n, capacity]
  std::vector<float> values;            // [n, capacity]
  std::vector<float> dots;              // [n, capacity]: row error . W_dec[feature]

  void reset(std::size_t rows, std::size_t row_capacity);
  [[nodiscard]] std::uint32_t* row_features(std::size_t row) {
    return features.data() + row * capacity;
  }
  [[nodiscard]] float* row_values(std::size_t row) { return values.data() + row * capacity; }
  [[nodiscard]] float* row_dots(std::size_t row) { return dots.data() + row * capacity; }
  [[nodiscard]] RowView row(std::size_t row) {
    return {counts[row], row_features(row), row_values(row), row_dots(row)};
  }
  // Compressed rows of the entries, and factor * dots + offset in the same order.
  void compress(SparseActs& acts) const;
  void compress_gradients(float factor, float offset, std::vector<float>& pre_grads) const;
};

}  // namespace refract
