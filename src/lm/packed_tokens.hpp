#pragma once
#include "refract/lm/language_model.hpp"

namespace refract {

// Throws before anything is computed: DataError for an id outside the vocabulary (tokens of another
// model), ConfigError for a position the model does not have (contexts too long).
void expect_fits(const PackedTokens& tokens, const ModelInfo& info);

// ConfigError listing what exists when `hook` is not one of the layers.
void expect_layer(HookPoint hook, const ModelInfo& info);

}  // namespace refract
