#pragma once
// Recipes (train.recipe): known sets of settings, as defaults of train: and of each entry of saes:.
#include <string_view>
#include <vector>

#include "refract/config/fields.hpp"
#include "refract/pipeline/run_config.hpp"

namespace refract {

[[nodiscard]] std::vector<std::string_view> recipe_names();  // none first
// Whose settings they are, in a few words.
[[nodiscard]] std::string_view recipe_source(std::string_view name);

// What config.train.recipe gives; `config` as it was read without, with its origins: what depends
// on the variant or on d_sae follows what it gives, and a setting of train.optimizer that was given
// holds for every entry.
[[nodiscard]] Defaults recipe_defaults(const RunConfig& config);

}  // namespace refract
