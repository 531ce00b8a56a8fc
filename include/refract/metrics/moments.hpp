#pragma once
// First and second moments of rows, in fp64. Every element is added in the order of the rows by
// itself, so the bytes depend neither on threads nor on how rows are handed over or the result is
// divided between processes.
#include <cstddef>
#include <span>
#include <vector>

#include "refract/tensor/tensor.hpp"

namespace refract {

// sum [D] += weights[i] x[i], for x [n, D] and n weights.
void add_weighted_rows(TensorView<const float> x, std::span<const double> weights,
                       std::span<double> sum);

// Some of the tiles of the upper triangle of S = sum over rows of (x - mean)(x - mean)^T [D, D].
// The tiles of the triangle are numbered row by row; who owns which is the caller's affair.
//
//   D of three tiles    0 1 2
//                         3 4
//                           5
class ScatterTiles {
 public:
  static constexpr std::size_t kTile = 64;  // D is padded with zeros to a multiple of it
  [[nodiscard]] static std::size_t tiles_of(std::size_t d);

  // Tiles [first, first + count) of tiles_of(d), all zero. Memory: 32 KiB a tile.
  ScatterTiles(std::size_t d, std::size_t first, std::size_t count);
  void add(TensorView<const float> x, std::span<const float> mean);          // x [n, D]
  [[nodiscard]] const std::vector<double>& values() const { return sums_; }  // [count, tile, tile]

 private:
  std::size_t d_, first_;
  std::vector<double> sums_;
};

// S / n [D, D], from the values of all tiles in their order.
[[nodiscard]] std::vector<double> covariance_of(std::span<const double> tiles, std::size_t d,
                                                double n);

}  // namespace refract
