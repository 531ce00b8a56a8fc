#pragma once
// Up to `capacity` (feature, value, gradient) entries for each row, filled by rows in any order.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "refract/sae/variant.hpp"

namespace refract {

struct RowEntries {
  std::size_t capacity = 0;
  std::vector<std::uint32_t> counts;    // [n]
  std::vector<std::uint32_t> features;  // [n, capacity]
  std::vector<float> values;            // [n, capacity]
  std::vector<float> dots;              // [n, capacity]: row error . W_dec[feature]

  void reset(std::size_t rows, std::size_t row_capacity);
  [[nodiscard]] std::uint32_t* row_features(std::size_t row) { return features.data() + row * capacity; }
  [[nodiscard]] float* row_values(std::size_t row) { return values.data() + row * capacity; }
  [[nodiscard]] float* row_dots(std::size_t row) { return dots.data() + row * capacity; }
  // Compressed rows of the entries, and factor * dots in the same order.
  void compress(SparseActs& acts) const;
  void compress_gradients(float factor, std::vector<float>& pre_grads) const;
};

}  // namespace refract
