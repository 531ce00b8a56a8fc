#pragma once
// Nearest neighbours of features by the cosine of their decoder rows.
#include <cstddef>
#include <functional>
#include <vector>

#include "refract/sae/state.hpp"
#include "refract/stages/features.hpp"

namespace refract {

// For each feature the `count` features of largest cosine (signed), itself left out; ties to the
// lower feature. Features whose decoder row is zero have none and are nobody's. done(n): n further
// features have theirs; from any thread.
[[nodiscard]] std::vector<std::vector<FeatureNeighbour>> nearest_features(
    const SaeParameters& parameters, std::size_t count,
    const std::function<void(std::size_t)>& done);

}  // namespace refract
