#include <cmath>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/ops/row_kernels.hpp"
#include "refract/sae/state.hpp"

namespace refract {
std::vector<std::pair<std::string, TensorView<float>>> named_tensors(
    const SaeParameters& parameters) {
  std::vector<std::pair<std::string, TensorView<float>>> all{{"W_enc", parameters.W_enc.view()},
                                                             {"b_enc", parameters.b_enc.view()},
                                                             {"W_dec", parameters.W_dec.view()},
                                                             {"b_dec", parameters.b_dec.view()}};
  if (parameters.has_threshold()) all.emplace_back("threshold", parameters.threshold.view());
  if (parameters.is_gated()) {
    all.emplace_back("b_mag", parameters.b_mag.view());
    all.emplace_back("r_mag", parameters.r_mag.view());
  }
  return all;
}

std::vector<std::string> tensor_names(const SaeShape& shape) {
  std::vector<std::string> names{"W_enc", "b_enc", "W_dec", "b_dec"};
  if (shape.threshold) names.emplace_back("threshold");
  if (shape.gated) names.insert(names.end(), {"b_mag", "r_mag"});
  return names;
}

bool has_feature_axis(std::string_view tensor) { return !tensor.ends_with("b_dec"); }

SaeParameters make_parameters(const SaeShape& shape, Device device) {
  SaeParameters made;
  made.W_enc = Tensor<float>(Shape{shape.d_sae, shape.d_in}, device);
  made.b_enc = Tensor<float>(Shape{shape.d_sae}, device);
  made.W_dec = Tensor<float>(Shape{shape.d_sae, shape.d_out}, device);
  made.b_dec = Tensor<float>(Shape{shape.d_out}, device);
  if (shape.threshold) made.threshold = Tensor<float>(Shape{shape.d_sae}, device);
  if (shape.gated) {
    made.b_mag = Tensor<float>(Shape{shape.d_sae}, device);
    made.r_mag = Tensor<float>(Shape{shape.d_sae}, device);
  }
  return made;
}

SaeParameters copy(const SaeParameters& parameters) {
  Stream stream(parameters.device());
  return copy_features(parameters, 0, parameters.d_sae(), stream);
}

SaeParameters copy_features(const SaeParameters& whole, std::size_t first, std::size_t count,
                            Stream& stream) {
  REFRACT_ASSERT(first + count <= whole.d_sae(), "features {} to {} of {}", first, first + count,
                 whole.d_sae());
  SaeShape shape = whole.shape();
  shape.d_sae = count;
  SaeParameters made = make_parameters(shape, stream.device());
  made.decoder = whole.decoder;
  made.first_feature = whole.first_feature + first;
  const auto from = named_tensors(whole), to = named_tensors(made);
  for (std::size_t i = 0; i < to.size(); ++i) {
    const TensorView<float> part =
        has_feature_axis(to[i].first) ? from[i].second.rows(first, count) : from[i].second;
    copy_tensor(part, to[i].second, stream);
  }
  stream.synchronize();
  return made;
}

void copy_into(const SaeParameters& part, SaeParameters& whole, Stream& stream) {
  const std::size_t first = part.first_feature - whole.first_feature;
  REFRACT_ASSERT(first + part.d_sae() <= whole.d_sae(), "features {} to {} of {}", first,
                 first + part.d_sae(), whole.d_sae());
  const auto from = named_tensors(part), to = named_tensors(whole);
  for (std::size_t i = 0; i < to.size(); ++i)
    copy_tensor(
        from[i].second,
        has_feature_axis(to[i].first) ? to[i].second.rows(first, part.d_sae()) : to[i].second,
        stream);
  stream.synchronize();
}

SaeParameters usable_mean(const SaeParameters& mean) {
  SaeParameters made = make_parameters(mean.shape());
  made.decoder = mean.decoder;
  made.first_feature = mean.first_feature;
  Stream stream(mean.device());
  copy_into(mean, made, stream);
  if (made.decoder.free_norm) return made;
  parallel_for(made.d_sae(), [&](std::size_t f) {
    const std::span<float> row = made.W_dec.row(f);
    const double squared = squared_norm(row.data(), row.size());
    if (squared > 0)
      scale(row.data(), static_cast<float>(1 / std::sqrt(squared)), row.size(), row.data());
  });
  return made;
}

}  // namespace refract
