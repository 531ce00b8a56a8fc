#include "refract/base/error.hpp"
#include "refract/sae/saelens.hpp"
#include "refract/store/safetensors.hpp"
#include "sae/layout_table.hpp"

namespace refract {
namespace {

Tensor<float> read_as(const StoredTensor& stored, Shape shape) {
  Tensor<float> values(shape);
  read_f32(stored, values.span());
  return values;
}

}  // namespace

SaelensWeights read_saelens_weights(const fs::path& folder) {
  const SafetensorsFile file(folder / "sae_weights.safetensors");
  const StoredTensor& W_dec = file.at("W_dec");
  if (W_dec.shape.size() != 2)
    throw DataError("'{}': W_dec has {} axes, expected 2 (features, d_out). Export the SAE again.",
                    file.path().string(), W_dec.shape.size());
  const std::size_t features = W_dec.shape[0], d_out = W_dec.shape[1];
  const StoredTensor& W_enc = file.at("W_enc");
  const std::size_t d_in = W_enc.shape.empty() ? d_out : W_enc.shape.front();
  return {.W_enc = transposed(read_as(file.at("W_enc", {d_in, features}), Shape{d_in, features})),
          .W_dec = read_as(W_dec, Shape{features, d_out}),
          .b_dec = read_as(file.at("b_dec", {d_out}), Shape{d_out})};
}

}  // namespace refract
