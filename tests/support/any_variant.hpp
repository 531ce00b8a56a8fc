#pragma once
// The least that a variant cannot do without, for tests that take every row of the table.
#include <algorithm>
#include <string>

#include "refract/sae/config.hpp"
#include "sae/variant_table.hpp"

namespace refract::testing_support {

inline bool has_setting(const SaeConfig& config, OwnSetting setting) {
  const auto& own = variant_row(config).own;
  return std::ranges::find(own, setting) != own.end();
}

// k, AuxK and the rest stay where the variant has them.
inline SaeConfig as_variant(SaeConfig config, std::string_view variant) {
  config.variant = std::string(variant);
  if (!has_setting(config, OwnSetting::k)) config.k = 0;
  if (!has_setting(config, OwnSetting::aux)) config.aux = {};
  if (variant == "gated") config.penalty = {.kind = "l1", .coefficient = 0.3};
  if (variant == "jumprelu") {
    config.penalty = {.kind = "l0", .coefficient = 0.4, .target = 4};
    config.jumprelu = {.threshold = 0.3, .bandwidth = 0.5};
  }
  return config;
}

}  // namespace refract::testing_support
