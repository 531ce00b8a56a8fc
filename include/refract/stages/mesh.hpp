#pragma once
// How the ranks that train one SAE divide a step: rows of the global batch by features of the
// dictionary. Rank r stands in row r / features and column r % features, so that the ranks that
// share rows are neighbours (of one node, as a rule).
//
//   rows 2, features 2      columns  f0          f1
//   row 0  rows a           r0 [a x f0]     r1 [a x f1]     -- candidates and partial sums -->
//   row 1  rows b           r2 [b x f0]     r3 [b x f1]
//                              | gradients     |
//
// Along a row: batch rows are gathered, candidates merged, partial reconstructions summed; no
// weight crosses a wire. Along a column: gradients are summed, and under `sharded` weights
// gathered.
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "refract/comm/communicator.hpp"
#include "refract/comm/exchange.hpp"
#include "refract/order/sample_order.hpp"
#include "refract/sae/state.hpp"

namespace refract {

struct MeshShape {
  std::size_t rows = 1, features = 1;
  friend bool operator==(const MeshShape&, const MeshShape&) = default;
};

// Part `part` of `parts` of a range, by whole panels.
[[nodiscard]] FeatureRange features_of_part(FeatureRange range, std::size_t part,
                                            std::size_t parts);
// The lengths of all parts, each times `width`: the counts of an exchange.
[[nodiscard]] std::vector<std::size_t> feature_counts(FeatureRange range, std::size_t parts,
                                                      std::size_t width);

class Mesh {
 public:
  // Collective. SystemError where shape is not of as many ranks as there are.
  [[nodiscard]] static Mesh collective_make(Communicator& ranks, const MeshShape& shape,
                                            Device device = {}, Wire wire = Wire::fp32);

  [[nodiscard]] const MeshShape& shape() const { return shape_; }
  [[nodiscard]] std::size_t row() const { return row_; }
  [[nodiscard]] std::size_t column() const { return column_; }
  [[nodiscard]] Device device() const { return device_; }
  [[nodiscard]] Communicator& ranks() { return *ranks_; }
  [[nodiscard]] Exchange& all() { return *all_; }                    // every rank of the mesh
  [[nodiscard]] Exchange& along_row() { return *along_row_; }        // who shares this rank's rows
  [[nodiscard]] Exchange& along_column() { return *along_column_; }  // its features

  // Of a dictionary: what this rank computes, and of that, what it alone keeps moments of when
  // `sharded` (else all of it).
  [[nodiscard]] FeatureRange tile_of(std::size_t d_sae) const;
  [[nodiscard]] FeatureRange own_of(std::size_t d_sae, bool sharded) const;
  // Of a batch in `blocks` equal slices: what this rank reads; what its tile has; by rank of the
  // row, what each reads of that.
  [[nodiscard]] Share read_of(std::size_t blocks) const;
  [[nodiscard]] Share rows_of(std::size_t blocks) const { return rows_of(row_, blocks); }
  [[nodiscard]] Share rows_of(std::size_t row, std::size_t blocks) const;
  [[nodiscard]] std::vector<std::size_t> parts_of_row(std::size_t blocks, std::size_t width) const;
  // By row: the slices of each tile, times `width`.
  [[nodiscard]] std::vector<std::size_t> slices_of_rows(std::size_t blocks,
                                                        std::size_t width) const;

 private:
  Mesh() = default;
  MeshShape shape_;
  std::size_t row_ = 0, column_ = 0;
  Device device_;
  Communicator* ranks_ = nullptr;
  std::unique_ptr<Communicator> row_ranks_, column_ranks_;
  std::unique_ptr<Exchange> all_, along_row_, along_column_;
};

}  // namespace refract
