#pragma once
// How alike the directions of a decoder are: the cosines of all its pairs of rows, in blocks of a
// matrix product, of which only integers, each row's best partner and the strongest pairs are kept:
// never [F, F]. Counts are added and the rest is taken by a total order, so that the result is the
// same for any division of the work (reference/analysis.md A1).
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "refract/ops/gemm.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

inline constexpr float kNearDuplicate = 0.9F;  // a cosine above it
inline constexpr std::uint32_t kNoFeature = 0xFFFFFFFF;

struct CosinePair {
  std::uint32_t i = 0, j = 0;  // features, i < j
  float cosine = 0;
  friend bool operator==(const CosinePair&, const CosinePair&) = default;
};

// Directions of the live rows of W_dec [F, D] (borrowed): those that are not zero, numbered in
// order. Memory: 12 bytes a row.
class UnitRows {
 public:
  // of: "SAE 'small'". NumericalError naming it and the row that is not finite.
  UnitRows(std::string_view of, TensorView<const float> W_dec);
  [[nodiscard]] std::size_t features() const { return W_dec_.axis(0); }
  [[nodiscard]] std::size_t d_in() const { return W_dec_.axis(1); }
  [[nodiscard]] std::size_t live() const { return feature_.size(); }  // M
  [[nodiscard]] std::uint32_t feature(std::size_t row) const { return feature_[row]; }
  void fill(std::size_t first, TensorView<float> out) const;  // out [n, D]: rows from `first` on
  // The mean cosine of all pairs without looking at any: (|sum of u|^2 - sum of |u|^2) / (M (M -
  // 1)), in fp64; 0 where there is no pair.
  [[nodiscard]] double mean_cosine() const;

 private:
  TensorView<const float> W_dec_;
  std::vector<std::uint32_t> feature_;  // [M]
  std::vector<double> inverse_norm_;    // [M]
};

// What is known after some of the pairs; merged by adding, by the larger, and by merge_strongest.
struct CosineTally {
  // Bin b holds the cosines nearest to -1 + b / 10,000.
  static constexpr std::size_t kBins = 20001;
  std::vector<std::uint64_t> histogram;  // [kBins]
  std::uint64_t near_duplicates = 0;
  // [M]: of each row the largest cosine and its partner in one word (nearest_of), which is larger
  // for the larger cosine, and for the lower partner where two are equal; 0: none.
  std::vector<std::uint64_t> nearest;
  std::vector<CosinePair> strongest;  // largest cosine first, then by i and j
};

// Pairs of tiles of the triangle, each computed on its own; who does which is the caller's affair.
//
//   M of three tiles    0 1 3
//                         2 4
//                           5
// Memory: two tiles of rows [tile, D], their products, 7 MiB of counts, and 8 bytes a row.
class DecoderCosines {
 public:
  static constexpr std::size_t kTile = 512;
  static constexpr std::size_t kStrongest = 1000;
  [[nodiscard]] static std::uint64_t tile_pairs(std::size_t live);

  explicit DecoderCosines(const UnitRows& rows);  // borrowed
  void add(std::uint64_t tile_pair);              // each at most once
  [[nodiscard]] CosineTally tally() const;

 private:
  // Rows of a tile that one thread scans, and all that it finds in any of them.
  struct Strip {
    std::vector<std::uint64_t> histogram;
    std::uint64_t near_duplicates = 0;
    std::vector<CosinePair> strongest;  // a heap, the weakest in front
    std::vector<float> column_best;     // [tile]: of this strip alone
    std::vector<std::uint32_t> column_row;
  };
  void scan(std::size_t strip, std::size_t row_tile, std::size_t column_tile);

  const UnitRows& rows_;
  std::size_t packed_tile_;  // which tile columns_ holds
  Tensor<float> units_;      // [tile, D]
  PackedMatrix columns_;     // [tile, D]
  Tensor<float> cosines_;    // [tile, tile]
  std::vector<Strip> strips_;
  std::vector<std::uint64_t> nearest_;
};

// The best of several lists, each as in CosineTally and of pairs of its own.
[[nodiscard]] std::vector<CosinePair> merge_strongest(std::vector<CosinePair> pairs);

struct DecoderGeometry {
  std::size_t features = 0, live = 0;  // F; rows that are not zero: only they are counted below
  std::uint64_t pairs = 0;             // M (M - 1) / 2; where it is 0, so is all that follows
  double cosine_mean = 0;              // signed
  // From the histogram: to within half a bin, 0.00005.
  double cosine_p95 = 0, absolute_cosine_p95 = 0;
  double cosine_max = 0;
  std::uint64_t near_duplicates = 0;  // pairs with a cosine above kNearDuplicate
  // Over rows, of each row's nearest neighbour.
  double nearest_mean = 0, nearest_p50 = 0, nearest_p95 = 0;
  std::vector<float> nearest_cosine;           // [F]; 0 for a zero row
  std::vector<std::uint32_t> nearest_feature;  // [F]; kNoFeature for a zero row
  std::vector<CosinePair> strongest;           // at most DecoderCosines::kStrongest
  // [201] for a plot: bin b holds the cosines around -1 + b / 100, to within 0.0001.
  std::vector<std::uint64_t> histogram;
  friend bool operator==(const DecoderGeometry&, const DecoderGeometry&) = default;
};
// tally: of every pair of tiles.
[[nodiscard]] DecoderGeometry decoder_geometry(const UnitRows& rows, const CosineTally& tally);

}  // namespace refract
