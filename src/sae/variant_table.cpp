#include "sae/variant_table.hpp"

#include <fmt/ranges.h>

#include "refract/base/error.hpp"

namespace refract {
namespace {
constexpr VariantRow kVariants[] = {
    {"topk", make_topk},
};
}  // namespace

std::vector<std::string_view> variant_names() {
  std::vector<std::string_view> names;
  for (const VariantRow& row : kVariants) names.push_back(row.name);
  return names;
}

std::unique_ptr<Variant> make_variant(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows) {
  for (const VariantRow& row : kVariants)
    if (row.name == config.variant) return row.make(config, d_in, dead_after_rows);
  throw ConfigError("SAE \"{}\" has variant \"{}\"; known variants: {}.", config.name, config.variant,
                    fmt::join(variant_names(), ", "));
}

}  // namespace refract
