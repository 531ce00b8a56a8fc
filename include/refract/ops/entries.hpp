#pragma once
// Sparse activations of a tile, rows by features, and where they are kept. Everything of one list
// lies on one device. Features count from the tile's first one.
#include <cstddef>
#include <cstdint>

#include "refract/tensor/tensor.hpp"

namespace refract {

// By row: those of row i are [starts[i], starts[i] + counts[i]), features ascending. Rows lie in
// any order, and between them may be room.
struct RowEntries {
  TensorView<std::uint64_t> starts;    // [n]
  TensorView<std::uint32_t> counts;    // [n]
  TensorView<std::uint32_t> features;  // [C]
  TensorView<float> values;            // [C]
  TensorView<std::uint64_t> used;      // [1] of C, where per_row is 0
  // > 0: row i has this many places from i * per_row on; 0: rows share the C places.
  std::size_t per_row = 0;
  [[nodiscard]] std::size_t rows() const { return counts.size(); }
};

// The room of n rows: per_row places each, or, with per_row 0, capacity places for all. On the CPU
// memory that is never written is never taken.
class RowEntriesBuffer {
 public:
  RowEntriesBuffer() = default;
  RowEntriesBuffer(std::size_t n, std::size_t per_row, std::size_t capacity, Stream& stream);
  [[nodiscard]] RowEntries view() const;

 private:
  Tensor<std::uint64_t> starts_, used_;
  Tensor<std::uint32_t> counts_, features_;
  Tensor<float> values_;
  std::size_t per_row_ = 0;
};

// By feature: those of feature f are [starts[f], starts[f + 1]), rows ascending.
struct FeatureEntries {
  TensorView<std::uint64_t> starts;  // [F + 1]
  TensorView<std::uint32_t> rows;    // [C]
  TensorView<float> values;          // [C]
  TensorView<float> slopes;          // [C] on a CUDA device: work memory of feature_gradients
};

// Its room, and the work memory of sort_by_feature.
class FeatureEntriesBuffer {
 public:
  FeatureEntriesBuffer() = default;
  FeatureEntriesBuffer(std::size_t features, std::size_t capacity, Device device);
  [[nodiscard]] FeatureEntries view() const {
    return {starts_.view(), rows_.view(), values_.view(), slopes_.view()};
  }
  [[nodiscard]] TensorView<std::uint32_t> work() const { return work_.view(); }

 private:
  Tensor<std::uint64_t> starts_;
  Tensor<std::uint32_t> rows_, work_;
  Tensor<float> values_, slopes_;
};

// The same entries by feature: a counting sort, whose order does not depend on threads. The list by
// row has at most the entries that `to` was made for, and a row has a feature once.
void sort_by_feature(const RowEntries& from, const FeatureEntriesBuffer& to, Stream& stream);

// counts[f] = rows with an entry of feature f; counts[F] = included rows.
void count_entries(const RowEntries& entries, TensorView<const std::uint8_t> included /* [n] */,
                   TensorView<std::uint64_t> counts /* [F + 1] */, Stream& stream);

}  // namespace refract
