#include <utility>

#include "refract/ops/select_top.hpp"
#include "refract/stages/probe.hpp"

namespace refract {

Encoder sae_encoder(const Variant& variant, const SaeParameters& parameters) {
  return
      [&variant, &parameters](TensorView<const float> x, std::size_t first_row, SparseActs& acts) {
        variant.encode(parameters, x, first_row, acts);
      };
}

Encoder neuron_encoder(std::vector<float> centre, std::size_t k) {
  return [centre = std::move(centre), k](TensorView<const float> x, std::size_t, SparseActs& acts) {
    expect_shape(x, "x", {{"N", x.axis(0)}, {"D", centre.size()}});
    acts.row_starts.assign(1, 0);
    acts.features.clear();
    acts.values.clear();
    SelectScratch scratch;
    std::vector<float> centred(centre.size());
    std::vector<std::uint32_t> strongest(k);
    for (std::size_t i = 0; i < x.axis(0); ++i) {
      const auto row = x.row(i);
      for (std::size_t f = 0; f < row.size(); ++f) centred[f] = row[f] - centre[f];
      const std::size_t count = select_top(centred, k, 0.0F, scratch, strongest.data());
      for (std::size_t j = 0; j < count; ++j) {
        acts.features.push_back(strongest[j]);
        acts.values.push_back(centred[strongest[j]]);
      }
      acts.row_starts.push_back(acts.features.size());
    }
  };
}

}  // namespace refract
