#pragma once
// Settings of one SAE and of its optimiser. All of them change results, so all are part of the
// digest.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace refract {

// AuxK: features that have not fired for a while reconstruct the main residual (Gao et al. 2024,
// section 2.3), normalised by the residual's variance; SPEC 6.
struct AuxConfig {
  double coefficient = 1.0 / 32;  // 0 switches it off
  std::size_t k = 0;              // dead features used per row; 0 means d_in / 2
};

// The penalty of variant relu, on activations of normalised rows.
struct L1Config {
  double coefficient = 5;
  std::uint64_t warmup_steps = 0;  // over which it rises from zero
};

// Adam, and a learning rate that rises linearly, stays, and falls linearly to zero.
struct OptimizerConfig {
  double lr = 1e-3;
  double warmup = 0.05;  // share of all steps
  double decay = 0.2;    // share of all steps
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
};

// One entry of `saes:`. normalize and optimizer are `train`'s where the entry gives none. Settings
// marked with variants are theirs alone; any other variant refuses a value that is not the default,
// since it would change nothing.
struct SaeConfig {
  std::string name;                // folder under saes/
  std::vector<std::string> hooks;  // blocks.4.hook_resid_post; several are concatenated in order
  std::string target_hook{};       // what it reconstructs; empty: its input
  std::string variant = "topk";
  std::size_t d_sae = 0;             // features
  std::size_t k = 0;                 // topk: active features per row; batchtopk: on average
  std::uint64_t seed = 1;            // initialisation and resampling
  std::uint64_t seeds = 1;           // so many SAEs, from `seed` on; 1 once it was read
  std::string normalize = "sqrt_d";  // none | sqrt_d | layer_norm | whiten (normaliser.hpp)
  OptimizerConfig optimizer{};
  bool non_negative_decoder = false;  // every entry of W_dec >= 0, in any variant
  AuxConfig aux{};                    // topk, batchtopk
  double threshold_rate = 0.01;       // batchtopk: of the exponential mean of its threshold
  L1Config l1{};                      // relu
};

// Its input as text: "blocks.4.hook_resid_post", or several joined by "+".
[[nodiscard]] std::string hook_text(const SaeConfig& config);
// What it reconstructs: target_hook, or its own input.
[[nodiscard]] std::vector<std::string> target_hooks(const SaeConfig& config);
// The same, of an SAE that reads one hook; asserts that it does.
[[nodiscard]] const std::string& only_hook(const SaeConfig& config);
[[nodiscard]] std::string only_target_hook(const SaeConfig& config);
// It reconstructs another place than it reads.
[[nodiscard]] bool is_transcoder(const SaeConfig& config);

// Throws ConfigError naming the setting (`where` is e.g. "saes.0") when the combination is
// impossible.
void check(const SaeConfig& config, std::string_view where);
void check(const OptimizerConfig& config, std::string_view where);

}  // namespace refract
