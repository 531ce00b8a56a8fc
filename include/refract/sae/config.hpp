#pragma once
// Settings of one SAE and of its optimiser. All of them change results, so all are part of the
// digest.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "refract/ops/feature_gradients.hpp"

namespace refract {

// AuxK: features that have not fired for a while reconstruct the main residual (Gao et al. 2024,
// section 2.3), normalised by the residual's variance; SPEC 6.
struct AuxConfig {
  double coefficient = 1.0 / 32;  // 0 switches it off
  std::size_t k = 0;              // dead features used per row; 0 means d_in / 2
};

// What asks for sparsity beside or instead of a number of entries (ops/entry_penalty.hpp), on
// activations of normalised rows; the mean over rows of its sum over features times the
// coefficient, but for kl and l0, which are of the whole batch.
struct PenaltyConfig {
  std::string kind = "auto";  // none | l1 | tanh | kl | l0; auto: l1 for relu, none for others
  double coefficient = 5;
  // kl: rate of each feature, in (0, 1); l0: mean active features per row, or 0: as few as may be
  double target = 0;
  double steepness = 4;  // tanh, kl: of tanh(steepness |f|)
  bool weighted = true;  // l1, tanh: by the norm of the decoder row, which matters if it is free
  std::uint64_t warmup_steps = 0;  // over which it rises from zero
};

// JumpReLU's threshold, on scaled activations, and the width of the window in which rows move it.
struct JumpReluConfig {
  double threshold = 0.01;  // of every feature, at first
  double bandwidth = 0.05;
};

// Dead features that begin anew from rows of a batch (stages/resample.hpp).
struct ResampleConfig {
  std::uint64_t every_steps = 0;  // 0: never
  double until = 0.5;             // share of all steps
  double scale = 0.2;             // of their encoder rows, times the mean norm of the living ones
};

// Adam, and a learning rate that rises linearly, stays, and falls.
struct OptimizerConfig {
  double lr = 1e-3;
  double warmup = 0.05;  // share of all steps; above 1: so many steps
  double decay = 0.2;    // the same
  bool cosine = false;   // it falls along half a period, else linearly
  double floor = 0;      // share of lr that it falls to
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
  std::size_t d_sae = 0;  // features
  std::size_t k = 0;      // topk, abstopk: active features per row; batchtopk: on average
  // k begins as k_start, where that is not 0, and falls linearly over this share of all steps.
  std::size_t k_start = 0;
  double k_decay = 0.1;
  std::uint64_t seed = 1;            // initialisation and resampling
  std::uint64_t seeds = 1;           // so many SAEs, from `seed` on; 1 once it was read
  std::string normalize = "sqrt_d";  // none | sqrt_d | layer_norm | whiten (normaliser.hpp)
  OptimizerConfig optimizer{};
  // Decay a step of the exponential mean of the weights that is used outside training; 0: no mean.
  double ema = 0;
  bool non_negative_decoder = false;  // every entry of W_dec >= 0, in any variant
  std::string decoder_norm = "unit";  // of rows of W_dec: unit | free
  std::string b_dec = "median";       // at first: median | mean | zero
  PenaltyConfig penalty{};
  AuxConfig aux{};               // topk, abstopk, batchtopk, matryoshka
  ResampleConfig resample{};     // where AuxK does not
  double threshold_rate = 0.01;  // batchtopk, matryoshka: of the threshold's exponential mean
  JumpReluConfig jumprelu{};     // jumprelu
  std::vector<std::string> prefixes{};  // matryoshka: sizes, ascending, below d_sae
};

[[nodiscard]] DecoderRule decoder_rule(const SaeConfig& config);
// Of all steps.
[[nodiscard]] std::size_t largest_k(const SaeConfig& config);

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
