#pragma once
// A planted truth: rows that are sums of known features, to see whether training finds them. It has
// the traits that SynthSAEBench gives its synthetic models (SAELens' sae_lens.synthetic, 2026), as
// functions of a seed alone:
//
//   firing        rates fall as a power of the feature's rank, from firing_most to firing_least
//   hierarchy     a forest, numbered level by level: a feature fires only with its parent, and of
//                 some groups of siblings at most one fires, drawn among those that would
//   correlation   which features fire in a row is decided by a Gaussian copula whose correlation
//                 is factor factor^T off the diagonal, of low rank
//   magnitude     max(0, normal), with a mean that falls linearly over the features; where it is 0
//                 (of the defaults: once in 2000 at most) the feature does not fire
//   directions    random unit rows, more of them than dimensions, pushed apart; plus a constant row
//
// It departs from SynthSAEBench in three places. Rates: what a parent and its siblings take away is
// made up for exactly, by the rates of all siblings, not to first order, so rates() are what rows
// show where correlation_scale is 0 (with correlation: those of the roots; a child's differ a
// little, as it is drawn beside a parent that it is correlated with). A rate that a parent leaves
// no room for is lowered, where SynthSAEBench clamps. Directions: the sum of squared cosines is
// lowered by gradient steps on the sphere, without Adam and without a term for the norm.
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "refract/base/random.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

struct PlantedConfig {
  std::size_t d_in = 128;          // D
  std::size_t features = 256;      // G
  double firing_exponent = 0.5;    // rate = a + b rank^-exponent, rank from 1
  double firing_most = 0.4;        // of feature 0
  double firing_least = 0.01;      // of feature G - 1
  std::size_t roots = 64;          // trees
  std::size_t branching = 2;       // children of a feature above the last level; 0: no hierarchy
  std::size_t depth = 2;           // levels below the roots; what is left over stands alone
  double exclusive_share = 0.5;    // of the groups of siblings: at most one of them fires
  std::size_t factors = 8;         // rank of the correlation
  double correlation_scale = 0.1;  // standard deviation of a factor's entries; 0: independent
  double magnitude_first = 1.5, magnitude_last = 1.0;  // means of features 0 and G - 1
  double magnitude_std = 0.3;
  double constant_norm = 1;       // of the constant row
  std::size_t spread_steps = 50;  // that push directions apart
  std::uint64_t seed = 1;
};

// n rows, and what they are made of: entries row_starts[i] .. row_starts[i + 1] belong to row i,
// features ascending, values above 0.
struct PlantedRows {
  Tensor<float> x;                        // [n, D] = constant + sum of values times directions
  std::vector<std::uint64_t> row_starts;  // [n + 1]
  std::vector<std::uint32_t> features;    // [E]
  std::vector<float> values;              // [E]
};

class PlantedTruth {
 public:
  // ConfigError when the numbers describe no truth: rates not in (0, 1) or rising, no feature.
  explicit PlantedTruth(const PlantedConfig& config);

  // Rows [first, first + n) of an endless sequence: the same however it is cut.
  [[nodiscard]] PlantedRows rows(std::uint64_t first, std::size_t n) const;

  [[nodiscard]] const PlantedConfig& config() const { return config_; }
  [[nodiscard]] TensorView<const float> directions() const {
    return directions_.cview();
  }                                                                            // [G, D]
  [[nodiscard]] std::span<const float> constant() const { return constant_; }  // [D]
  [[nodiscard]] std::span<const double> rates() const { return rates_; }       // [G]
  [[nodiscard]] double mean_active() const;  // sum of the rates: L0 of the truth
  [[nodiscard]] std::optional<std::size_t> parent(std::size_t feature) const;
  // Whether two features are siblings of which at most one fires.
  [[nodiscard]] bool exclude_each_other(std::size_t a, std::size_t b) const;
  [[nodiscard]] double correlation(std::size_t a, std::size_t b) const;  // of their normals

 private:
  struct Group {  // siblings [first, first + count), in the order of their first
    std::size_t first, count;
    std::optional<std::size_t> parent;
    bool exclusive;
  };
  void plant_forest();
  void plant_rates();
  void plant_correlation();
  void plant_directions();
  void fire(std::uint64_t row, std::span<float> values) const;

  PlantedConfig config_;
  std::vector<Group> groups_;
  std::vector<std::size_t> group_of_;  // [G]
  std::vector<double> rates_;          // [G] over all rows
  std::vector<double> thresholds_;     // [G] fires above it, given that the parent does
  std::vector<double> factors_;        // [G, factors]
  std::vector<double> own_std_;        // [G] of the normal that a feature shares with none
  Tensor<float> directions_;           // [G, D]
  std::vector<float> constant_;        // [D]
};

}  // namespace refract
