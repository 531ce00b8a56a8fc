#pragma once
// Weight gradients of a range of features from the row gradients of a batch.
//
// Order of additions: per feature, the terms in their order, within a term the rows in row order.
// So the bytes of a feature's gradient depend on the rows given, not on threads nor on which other
// features are asked for. With the global batch's rows, the owner of a panel gets the same bytes
// for any number of ranks.
//
//   gather(x, rows)          counting sort of the entries by feature
//   accumulate(range)        dW_enc, db_enc, dW_dec, dthreshold of the range; an all-reduce may
//                            follow
//   finish_gradients(range)  dW_dec made orthogonal to its unit row and, with a non-negative
//                            decoder, zero where a bound holds the entry; per panel of 64
//                            features the squared norm and its part of db_dec
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "refract/sae/state.hpp"
#include "refract/sae/variant.hpp"

namespace refract {

inline constexpr std::size_t kPanelFeatures = 64;

// Gradients of features [first, first + count); `first` is a multiple of kPanelFeatures.
struct FeatureGradients {
  std::size_t first = 0, count = 0;
  Tensor<float> dW_enc;      // [count, D]
  Tensor<float> db_enc;      // [count]
  Tensor<float> dW_dec;      // [count, D]
  Tensor<float> dthreshold;  // [count] or empty
};
[[nodiscard]] FeatureGradients make_feature_gradients(const SaeParameters& parameters,
                                                      std::size_t first, std::size_t count);

// Sums over the features of one panel of 64, to be added in panel order whoever computed them.
struct PanelSums {
  std::vector<double> squared_norm;  // [panels]
  std::vector<double> db_dec;  // [panels, D]: - sum over the panel's features of db_enc[f] W_enc[f]
};

class WeightGradients {
 public:
  // Borrows x [N, D] and rows until the last accumulate. The rows may be the global batch's or one
  // rank's.
  void gather(const SaeParameters& parameters, TensorView<const float> x, const RowGradients& rows);
  // Overwrites the gradients of out's features.
  void accumulate(const SaeParameters& parameters, FeatureGradients& out) const;

 private:
  struct Entry {
    std::uint32_t row;
    float value, pre_grad, threshold_grad;
  };
  struct Term {
    std::vector<std::uint64_t> starts;  // [F + 1]
    std::vector<Entry> entries;         // by feature, then row
  };
  TensorView<const float> x_;
  const RowGradients* rows_ = nullptr;
  std::vector<Term> terms_;
};

void finish_gradients(const SaeParameters& parameters, FeatureGradients& gradients,
                      PanelSums& sums);

// dLoss/d(b_dec) [D] = decoder part + the panels' parts in panel order, and the squared norm of all
// gradients (panels in order, then b_dec). `panels` holds all panels of the dictionary.
struct BiasGradient {
  std::vector<double> db_dec;  // [D]
  double squared_norm = 0;     // of everything
};
[[nodiscard]] BiasGradient bias_gradient(std::span<const double> decoder_part,
                                         const PanelSums& panels);

}  // namespace refract
