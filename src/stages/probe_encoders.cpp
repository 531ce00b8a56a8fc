#include <algorithm>
#include <utility>

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
    std::vector<std::pair<float, std::uint32_t>>
        active;  // (-value, feature): ascending = strongest first
    for (std::size_t i = 0; i < x.axis(0); ++i) {
      const auto row = x.row(i);
      active.clear();
      for (std::uint32_t f = 0; f < row.size(); ++f)
        if (const float value = row[f] - centre[f]; value > 0) active.emplace_back(-value, f);
      const auto kept = static_cast<std::ptrdiff_t>(std::min(k, active.size()));
      std::partial_sort(active.begin(), active.begin() + kept, active.end());
      active.resize(static_cast<std::size_t>(kept));
      std::sort(active.begin(), active.end(),
                [](const auto& a, const auto& b) { return a.second < b.second; });
      for (const auto& [negative_value, feature] : active) {
        acts.features.push_back(feature);
        acts.values.push_back(-negative_value);
      }
      acts.row_starts.push_back(acts.features.size());
    }
  };
}

}  // namespace refract
