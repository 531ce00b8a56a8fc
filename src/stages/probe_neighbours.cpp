#include "probe_neighbours.hpp"

#include <algorithm>
#include <span>

#include "refract/base/parallel.hpp"
#include "refract/tensor/dot.hpp"

namespace refract {
namespace {

std::vector<float> unit_rows(TensorView<const float> W) {
  std::vector<float> unit(W.span().begin(), W.span().end());
  parallel_for(W.axis(0), [&](std::size_t f) {
    const double norm = norm_of(W.row(f));
    const float scale = norm > 0 ? static_cast<float>(1 / norm) : 0.0F;
    for (std::size_t d = 0; d < W.axis(1); ++d) unit[f * W.axis(1) + d] *= scale;
  });
  return unit;
}

bool nearer(const FeatureNeighbour& a, const FeatureNeighbour& b) {
  return a.cosine != b.cosine ? a.cosine > b.cosine : a.feature < b.feature;
}

}  // namespace

std::vector<std::vector<FeatureNeighbour>> nearest_features(
    const SaeParameters& parameters, std::size_t count,
    const std::function<void(std::size_t)>& done) {
  const std::size_t F = parameters.d_sae(), D = parameters.d_out();
  const std::vector<float> unit = unit_rows(parameters.W_dec.cview());
  std::vector<std::vector<FeatureNeighbour>> nearest(F);
  // Features that share one pass over the dictionary while it is in cache, and how much of it they
  // pass over between two stop points: a pass over a large one takes seconds.
  constexpr std::size_t kPanel = 16, kStep = 16384;
  parallel_for((F + kPanel - 1) / kPanel, [&](std::size_t panel) {
    const std::size_t begin = panel * kPanel, end = std::min(F, begin + kPanel);
    for (std::uint32_t g = 0; g < F; ++g) {
      if (g % kStep == 0) stop_point();
      for (std::size_t f = begin; f < end; ++f) {
        if (f == g) continue;
        const FeatureNeighbour candidate{g, dot(&unit[f * D], &unit[g * D], D)};
        if (candidate.cosine == 0) continue;
        auto& kept = nearest[f];
        if (kept.size() == count && !nearer(candidate, kept.back())) continue;
        kept.insert(std::upper_bound(kept.begin(), kept.end(), candidate, nearer), candidate);
        if (kept.size() > count) kept.pop_back();
      }
    }
    done(end - begin);
  });
  return nearest;
}

}  // namespace refract
