#pragma once
// Every SAE variant, one row each: the only place where a variant is chosen by name.
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "refract/sae/variant.hpp"

namespace refract {

struct VariantRow {
  std::string_view name;
  std::unique_ptr<Variant> (*make)(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows);
};

std::unique_ptr<Variant> make_topk(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows);

}  // namespace refract
