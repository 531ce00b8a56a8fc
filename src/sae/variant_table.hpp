#pragma once
// Every SAE variant, one row each: the only place where a variant is chosen by name.
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>

#include "refract/sae/variant.hpp"

namespace refract {

// Settings of SaeConfig that are not of every variant.
enum class OwnSetting { k, aux, threshold_rate, jumprelu, prefixes };

struct VariantRow {
  std::string_view name;
  std::unique_ptr<Variant> (*make)(const SaeConfig& config, std::size_t d_in,
                                   std::uint64_t dead_after_rows);
  void (*check)(const SaeConfig& config, std::string_view where);  // its own settings; ConfigError
  std::initializer_list<OwnSetting> own;
  std::string_view penalty = "none";  // what penalty.kind auto stands for
  bool transcodes = false;            // trains with a target_hook, and exports that
  bool trains_threshold = false;      // through gradients
};
[[nodiscard]] std::span<const VariantRow> variant_rows();
[[nodiscard]] const VariantRow& variant_row(
    const SaeConfig& config);  // ConfigError lists the known ones

std::unique_ptr<Variant> make_topk(const SaeConfig& config, std::size_t d_in,
                                   std::uint64_t dead_after_rows);
std::unique_ptr<Variant> make_abstopk(const SaeConfig& config, std::size_t d_in,
                                      std::uint64_t dead_after_rows);
std::unique_ptr<Variant> make_batchtopk(const SaeConfig& config, std::size_t d_in,
                                        std::uint64_t dead_after_rows);
std::unique_ptr<Variant> make_matryoshka(const SaeConfig& config, std::size_t d_in,
                                         std::uint64_t dead_after_rows);
std::unique_ptr<Variant> make_relu(const SaeConfig& config, std::size_t d_in,
                                   std::uint64_t dead_after_rows);
std::unique_ptr<Variant> make_jumprelu(const SaeConfig& config, std::size_t d_in,
                                       std::uint64_t dead_after_rows);
std::unique_ptr<Variant> make_gated(const SaeConfig& config, std::size_t d_in,
                                    std::uint64_t dead_after_rows);

void check_k(const SaeConfig& config, std::string_view where);  // 1 .. d_sae
void check_batch_selection(const SaeConfig& config, std::string_view where);
void check_matryoshka(const SaeConfig& config, std::string_view where);
void check_relu(const SaeConfig& config, std::string_view where);
void check_jumprelu(const SaeConfig& config, std::string_view where);
void check_gated(const SaeConfig& config, std::string_view where);
// Refuses a variant that nothing else makes sparse, naming one that would.
void expect_penalty(const SaeConfig& config, std::string_view example, std::string_view where);

}  // namespace refract
