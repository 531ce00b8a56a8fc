#pragma once
// What an SAE is and what its training carries from step to step: fp32 master weights, Adam
// moments, counters. Weights are feature-major: row f of W_enc and of W_dec belong to feature f.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "refract/ops/feature_gradients.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

struct SaeWidth {
  std::size_t d_in = 0, d_out = 0;  // the same, for an SAE that is no transcoder
};

struct SaeShape {
  std::size_t d_sae = 0, d_in = 0, d_out = 0;  // F, D_in, D_out
  bool threshold = false;
  bool gated = false;  // b_mag and r_mag
  bool mean = false;   // of a state: with the mean of its parameters
};

// Features of a dictionary: whole panels of 64, but for the dictionary's last one.
struct FeatureRange {
  std::size_t first = 0, count = 0;
  friend bool operator==(const FeatureRange&, const FeatureRange&) = default;
};

// Of a whole dictionary, or of the features [first_feature, first_feature + F) of one that is dealt
// to ranks.
struct SaeParameters {
  Tensor<float> W_enc;  // [F, D_in]
  Tensor<float> b_enc;  // [F]
  Tensor<float> W_dec;  // [F, D_out], unit rows unless they are free
  Tensor<float> b_dec;  // [D_out]
  // [F]; without an axis: only of variants that have them. Gated: b_enc is the gate's.
  Tensor<float> threshold, b_mag, r_mag;
  DecoderRule decoder;  // gradients and updates of W_dec keep to it
  std::size_t first_feature = 0;
  [[nodiscard]] std::size_t d_sae() const { return W_enc.axis(0); }
  [[nodiscard]] std::size_t d_in() const { return W_enc.axis(1); }
  [[nodiscard]] std::size_t d_out() const { return W_dec.axis(1); }
  [[nodiscard]] SaeShape shape() const {
    return {d_sae(), d_in(), d_out(), has_threshold(), is_gated()};
  }
  [[nodiscard]] bool has_threshold() const { return threshold.shape().rank() != 0; }
  [[nodiscard]] bool is_gated() const { return b_mag.shape().rank() != 0; }
  [[nodiscard]] Device device() const { return W_enc.device(); }
};

// Every tensor of the parameters with its name, in a fixed order: what is saved, broadcast,
// compared.
[[nodiscard]] std::vector<std::pair<std::string, TensorView<float>>> named_tensors(
    const SaeParameters& parameters);
// Their names, of a shape.
[[nodiscard]] std::vector<std::string> tensor_names(const SaeShape& shape);
// Every one but b_dec has a feature axis, its first.
[[nodiscard]] bool has_feature_axis(std::string_view tensor);
[[nodiscard]] SaeParameters make_parameters(const SaeShape& shape, Device device = {});  // zeros
// Of the features [first, first + count) of whole parameters, on another device, or back.
[[nodiscard]] SaeParameters copy(const SaeParameters& parameters);
[[nodiscard]] SaeParameters copy_features(const SaeParameters& whole, std::size_t first,
                                          std::size_t count, Stream& stream);
void copy_into(const SaeParameters& part, SaeParameters& whole, Stream& stream);

struct SaeState {
  SaeParameters parameters;
  SaeParameters m, v;  // Adam moments, of all the features of `parameters` or of some
  // Of all parameters after each update (ops/weight_mean.hpp), where SaeConfig::ema is not 0; rows
  // of its decoder are shorter than those that it is the mean of.
  std::optional<SaeParameters> mean;
  std::uint64_t step = 0;          // updates done
  std::uint64_t trained_rows = 0;  // distinct included rows seen: those of first passes
  // [F] included rows (first passes) since the feature last fired; of `parameters`' features
  Tensor<std::uint64_t> age;
  std::map<std::string, double>
      scalars;  // a variant's own replicated values (threshold EMA ...), sorted by name
  [[nodiscard]] SaeShape shape() const {
    SaeShape of = parameters.shape();
    of.mean = mean.has_value();
    return of;
  }
};
// The mean as it is used: on the host, rows of W_dec of norm 1 where the decoder's are.
[[nodiscard]] SaeParameters usable_mean(const SaeParameters& mean);

// What a step reports; deterministic values only. squared_error is the mean over included rows of
// the sum over d_in of the squared error (normalised rows); aux_loss is what the variant's loss
// adds to it (AuxK, prefixes, penalties). grad_norm (before clipping) and lr are set by the stage,
// which alone knows them.
struct StepLog {
  double loss = 0, squared_error = 0, aux_loss = 0, l0 = 0, grad_norm = 0, lr = 0;
  std::uint64_t dead = 0, included_rows = 0;
};

}  // namespace refract
