// Matryoshka BatchTopK with AuxK (Bussmann et al. 2025, Learning Multi-Level Features with
// Matryoshka SAEs): BatchTopK whose first m features must also reconstruct alone, for some m.
//
//   loss = mean over rows |e|^2 + sum over prefixes m mean over rows |e_m|^2 + AuxK of e
//
// Each prefix has weight 1, as in SAELens; dictionary_learning weighs each by 1 / prefixes^2.
#include <fmt/ranges.h>

#include <algorithm>

#include "refract/base/error.hpp"
#include "refract/base/numbers.hpp"
#include "sae/batch_selecting_variant.hpp"
#include "sae/variant_table.hpp"

namespace refract {
namespace {

std::size_t size_of(const std::string& text) {  // 0: no number
  return static_cast<std::size_t>(std::max<std::int64_t>(0, parse_whole(text).value_or(0)));
}

// Where none are given: a sixteenth of the features, a quarter, a half.
std::vector<std::size_t> prefixes_of(const SaeConfig& config) {
  std::vector<std::size_t> sizes;
  for (const std::string& text : config.prefixes) sizes.push_back(size_of(text));
  if (!config.prefixes.empty()) return sizes;
  for (const std::size_t part : {16U, 4U, 2U})
    if (const std::size_t size = config.d_sae / part; size > (sizes.empty() ? 0 : sizes.back()))
      sizes.push_back(size);
  return sizes;
}

class Matryoshka final : public BatchSelectingVariant {
 public:
  Matryoshka(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows)
      : BatchSelectingVariant(config, d_in, dead_after_rows, prefixes_of(config)),
        widths_(prefixes_of(config)) {
    widths_.push_back(config.d_sae);
  }
  [[nodiscard]] std::string_view name() const override { return "matryoshka"; }
  [[nodiscard]] SaeExport export_for_saelens(const SaeParameters& p) const override {
    SaeExport out = BatchSelectingVariant::export_for_saelens(p);
    out.trained_as = "matryoshka_batchtopk";
    out.training["matryoshka_widths"] = fmt::format("[{}]", fmt::join(widths_, ","));
    return out;
  }

 private:
  std::vector<std::size_t> widths_;
};

}  // namespace

std::unique_ptr<Variant> make_matryoshka(const SaeConfig& config, std::size_t d_in,
                                         std::uint64_t dead_after_rows) {
  return std::make_unique<Matryoshka>(config, d_in, dead_after_rows);
}

void check_matryoshka(const SaeConfig& config, std::string_view where) {
  check_batch_selection(config, where);
  if (config.prefixes.size() > kMostPrefixes)
    throw ConfigError("{}.prefixes has {} sizes; at most {} are trained.", where,
                      config.prefixes.size(), kMostPrefixes);
  std::size_t before = 0;
  for (const std::string& text : config.prefixes) {
    const std::size_t size = size_of(text);
    if (size <= before || size >= config.d_sae)
      throw ConfigError(
          "{}.prefixes holds {}; expected ascending numbers of features below d_sae {}, e.g. [{}, "
          "{}].",
          where, text, config.d_sae, std::max<std::size_t>(1, config.d_sae / 4),
          std::max<std::size_t>(2, config.d_sae / 2));
    before = size;
  }
}

}  // namespace refract
