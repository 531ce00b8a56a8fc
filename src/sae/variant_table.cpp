#include "sae/variant_table.hpp"

#include <fmt/ranges.h>

#include "refract/base/error.hpp"

namespace refract {
namespace {
using enum OwnSetting;
constexpr std::initializer_list<OwnSetting> kTopK{k, aux}, kBatchTopK{k, aux, threshold_rate},
    kMatryoshka{k, aux, threshold_rate, prefixes}, kJumpRelu{jumprelu}, kNone{};

constexpr VariantRow kVariants[] = {
    {"topk", make_topk, check_k, kTopK},
    {"abstopk", make_abstopk, check_k, kTopK},
    {"batchtopk", make_batchtopk, check_batch_selection, kBatchTopK},
    {"matryoshka", make_matryoshka, check_matryoshka, kMatryoshka},
    {"relu", make_relu, check_relu, kNone, "l1", true},
    {"jumprelu", make_jumprelu, check_jumprelu, kJumpRelu, "none", false, true},
    {"gated", make_gated, check_gated, kNone},
};
}  // namespace

std::span<const VariantRow> variant_rows() { return kVariants; }

std::vector<std::string_view> variant_names() {
  std::vector<std::string_view> names;
  for (const VariantRow& row : kVariants) names.push_back(row.name);
  return names;
}

std::vector<std::string_view> transcoder_variant_names() {
  std::vector<std::string_view> names;
  for (const VariantRow& row : kVariants)
    if (row.transcodes) names.push_back(row.name);
  return names;
}

const VariantRow& variant_row(const SaeConfig& config) {
  for (const VariantRow& row : kVariants)
    if (row.name == config.variant) return row;
  throw ConfigError("SAE \"{}\" has variant \"{}\"; known variants: {}.", config.name,
                    config.variant, fmt::join(variant_names(), ", "));
}

bool trains_threshold(const SaeConfig& config) { return variant_row(config).trains_threshold; }

std::unique_ptr<Variant> make_variant(const SaeConfig& config, std::size_t d_in,
                                      std::uint64_t dead_after_rows) {
  check(config, "SAE " + config.name);
  return variant_row(config).make(config, d_in, dead_after_rows);
}

}  // namespace refract
