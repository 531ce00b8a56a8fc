#include <algorithm>

#include "refract/sae/state.hpp"

namespace refract {
namespace {
Tensor<float> copy(const Tensor<float>& from) {
  Tensor<float> to(from.shape());
  std::copy_n(from.data(), from.size(), to.data());
  return to;
}
}  // namespace

std::vector<std::pair<std::string, TensorView<float>>> named_tensors(
    const SaeParameters& parameters) {
  std::vector<std::pair<std::string, TensorView<float>>> all{{"W_enc", parameters.W_enc.view()},
                                                             {"b_enc", parameters.b_enc.view()},
                                                             {"W_dec", parameters.W_dec.view()},
                                                             {"b_dec", parameters.b_dec.view()}};
  if (parameters.threshold.size() != 0) all.emplace_back("threshold", parameters.threshold.view());
  return all;
}

SaeParameters make_parameters(std::size_t d_sae, std::size_t d_in, bool with_threshold) {
  SaeParameters made;
  made.W_enc = Tensor<float>(Shape{d_sae, d_in});
  made.b_enc = Tensor<float>(Shape{d_sae});
  made.W_dec = Tensor<float>(Shape{d_sae, d_in});
  made.b_dec = Tensor<float>(Shape{d_in});
  if (with_threshold) made.threshold = Tensor<float>(Shape{d_sae});
  return made;
}

SaeParameters copy(const SaeParameters& parameters) {
  SaeParameters made;
  made.W_enc = copy(parameters.W_enc);
  made.b_enc = copy(parameters.b_enc);
  made.W_dec = copy(parameters.W_dec);
  made.b_dec = copy(parameters.b_dec);
  if (parameters.threshold.size() != 0) made.threshold = copy(parameters.threshold);
  made.non_negative_decoder = parameters.non_negative_decoder;
  return made;
}

}  // namespace refract
