#pragma once
// What of a training's own units is folded into the weights of an export, by what each tensor is
// (export.hpp): nothing here knows a variant.
//
//   input            pre = encoder' . x + bias': encoder' = factor encoder W. Where b_dec is
//                    subtracted from x it holds the offset; else the biases take encoder' . offset.
//   target           decoder' = decoder W^-1, b_dec' = W^-1 b_dec / factor + offset; the factor,
//   which
//                    is one for all features, goes to the activations
//   unit rows        decoder' over its norm n, activations times n
//   activations      times a: encoder, its bias, threshold; with a log_gain, which multiplies
//                    behind the gate, log_gain + log a and magnitude_bias instead
//
// In fp64, rounded once. A feature's values depend on that feature alone: features may be dealt to
// ranks, and a piece of them is folded at a time.
#include <span>
#include <vector>

#include "refract/sae/export.hpp"
#include "refract/sae/normaliser.hpp"
#include "refract/sae/state.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

// Names the folds of an SAE that was trained on what `input` and `target` make of raw rows. Borrows
// from them. Decoder rows are made 1 where they were free or a target's map changed them.
void fold(SaeExport& exported, const Normaliser& input, const Normaliser& target);

// What the folds of the weights do to everything else of a feature.
struct FeatureFold {
  double activation = 1;  // activations are multiplied by it
  double norm = 1;        // the decoder row is divided by it
  double shift = 0;       // encoder' . offset, where the biases take it
  double gain = 0;        // exp(log_gain)
};

// Values of features, row by row, of one tensor. T: float, or double to be checked by.
template <typename T>
struct RoleRows {
  TensorRole role;
  std::span<const T> values;  // [features, width], or [D_out] of the decoder's bias
};

// Of every feature in the rows, which are of an encoder, a decoder, and a log_gain where there is
// one. centred: b_dec is subtracted from what is read.
template <typename T>
[[nodiscard]] std::vector<FeatureFold> feature_folds(const Folds& folds, bool centred,
                                                     std::span<const RoleRows<T>> tensors,
                                                     std::size_t features);
// gated: there is a log_gain. of: those of the rows' features; out may be the values.
template <typename T>
void fold_rows(const Folds& folds, bool gated, std::span<const FeatureFold> of,
               const RoleRows<T>& rows, std::span<T> out);

// An export as it is written, a piece at a time: of some of its features.
class FoldedExport {
 public:
  // features: of the dictionary, all of them in `exported`. Copies pieces from its device.
  FoldedExport(const SaeExport& exported, FeatureRange features, Stream& stream);
  // Whether values are written as they are.
  [[nodiscard]] bool leaves(TensorRole role) const;
  // Rows of the tensor from feature `first` of the dictionary on, on the host; out of their size.
  void rows(const SaeExport::Named& tensor, std::size_t first, TensorView<const float> values,
            std::span<float> out) const;
  // What activations of feature first + i are multiplied by.
  [[nodiscard]] std::span<const FeatureFold> features() const { return of_; }

 private:
  const SaeExport& exported_;
  std::size_t first_;
  bool gated_ = false;
  std::vector<FeatureFold> of_;
};

}  // namespace refract
