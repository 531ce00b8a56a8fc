#pragma once
// Rotary positions as config.json asks for them, in the dialects of transformers 4 (rope_theta,
// rope_scaling) and 5 (rope_parameters), read as transformers 5 reads them
// (tests/data/models/README.md).
#include <cstddef>
#include <optional>
#include <vector>

#include "lm/model_config.hpp"

namespace refract {

// The section that says how positions turn: rope_scaling where it holds anything, else
// rope_parameters; nothing: the default type, with the config's theta.
[[nodiscard]] std::optional<ModelConfig> rotary_section(const ModelConfig& config);

// Angle per position of each pair of dimensions, [half]: theta^(-2i / (2 half)), scaled as the
// section's rope type says: default, linear, llama3 (modeling_rope_utils.py). DataError names any
// other.
[[nodiscard]] std::vector<double> rotary_frequencies(std::size_t half, double theta,
                                                     const ModelConfig& config,
                                                     const std::optional<ModelConfig>& section);
// For families whose heads turn whole: theta is the section's, else the config's rope_theta, else
// 10000.
[[nodiscard]] std::vector<double> rotary_frequencies(std::size_t head_width,
                                                     const ModelConfig& config);

}  // namespace refract
