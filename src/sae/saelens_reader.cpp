#include <algorithm>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/sae/saelens.hpp"
#include "refract/store/safetensors.hpp"

namespace refract {
namespace {

constexpr std::size_t kTile = 64;

Tensor<float> read_as(const StoredTensor& stored, Shape shape) {
  Tensor<float> values(shape);
  read_f32(stored, values.span());
  return values;
}

// [D, F] to [F, D].
Tensor<float> transposed(const Tensor<float>& values) {
  const std::size_t rows = values.axis(0), columns = values.axis(1);
  Tensor<float> out(Shape{columns, rows});
  parallel_for((columns + kTile - 1) / kTile, [&](std::size_t tile) {
    const std::size_t end = std::min(columns, (tile + 1) * kTile);
    for (std::size_t first = 0; first < rows; first += kTile)
      for (std::size_t c = tile * kTile; c < end; ++c)
        for (std::size_t r = first; r < std::min(rows, first + kTile); ++r)
          out.data()[c * rows + r] = values.data()[r * columns + c];
  });
  return out;
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
