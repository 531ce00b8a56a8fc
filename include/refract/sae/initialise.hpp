#pragma once
// A new SAE from its seed: results depend on (seed, feature) alone.
#include <cstdint>
#include <span>

#include "refract/base/random.hpp"
#include "refract/sae/config.hpp"
#include "refract/sae/state.hpp"
#include "refract/sae/variant.hpp"

namespace refract {

[[nodiscard]] SaeShape shape_of(const SaeConfig& config, const Variant& variant,
                                const SaeWidth& width);

// Unit decoder rows (normal draws, normalised), W_enc a copy of W_dec (tied; of a transcoder unit
// rows of its own), b_enc 0, b_dec as given [D_out], what else there is as the variant begins it.
// `purpose` separates a trained SAE from its frozen-random control, which otherwise starts with the
// same rule.
[[nodiscard]] SaeParameters initial_parameters(const SaeConfig& config, const Variant& variant,
                                               std::size_t d_in, std::span<const float> b_dec,
                                               Purpose purpose = Purpose::initialisation);
// The parameters above, zero moments, step 0, ages 0.
[[nodiscard]] SaeState initial_state(const SaeConfig& config, const Variant& variant,
                                     std::size_t d_in, std::span<const float> b_dec);

}  // namespace refract
