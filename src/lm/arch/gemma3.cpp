// Gemma 3, text (Gemma Team 2025): Gemma 2 with norms of each head's query and key, without soft
// caps in what was published, and two kinds of layers: those with a window turn by angles of their
// own.
#include <cmath>

#include "lm/arch_table.hpp"
#include "lm/rotary_config.hpp"

namespace refract::gemma3 {
namespace {

// Gemma3TextConfig of transformers.
constexpr GatedDefaults kDefaults{.layers = 26,
                                  .d_model = 2304,
                                  .heads = 8,
                                  .kv_heads = 4,
                                  .inner = 9216,
                                  .vocab = 262208,
                                  .bos_id = 2,
                                  .eos_id = 1,
                                  .positions = 131072,
                                  .head_width = 256,
                                  .tied = true};
constexpr std::size_t kAll = 0, kSliding = 1;  // rotary tables

// transformers 5 has a section for each kind of layers; in files of transformers 4 the windowed
// layers' theta has a key of its own, and what scales positions is for the others alone.
std::vector<std::vector<double>> read_rotaries(const ModelConfig& config, std::size_t half) {
  const auto parameters = config.section("rope_parameters");
  if (parameters && (parameters->has("rope_type") || parameters->has("rope_theta")))
    config.refuse("rope_parameters", "expected a section for each kind of layers.");
  const auto scaling = config.section("rope_scaling");
  if (scaling && scaling->has("type") && !scaling->has("rope_type"))
    scaling->refuse("type",
                    "expected the key rope_type: transformers does not read this one here.");
  const auto part_of = [&](const char* kind) {
    return parameters ? parameters->section(kind) : std::nullopt;
  };
  const auto frequencies = [&](const std::optional<ModelConfig>& part, const char* theta_key,
                               double theta, const std::optional<ModelConfig>& scaled_by) {
    const double outer = config.number(theta_key, theta);
    return rotary_frequencies(half, part ? part->number("rope_theta", outer) : outer, config,
                              scaled_by);
  };
  const auto all = part_of("full_attention"), sliding = part_of("sliding_attention");
  return {frequencies(all, "rope_theta", 1e6, scaling && !scaling->is_empty() ? scaling : all),
          frequencies(sliding, "rope_local_base_freq", 1e4, sliding)};
}

}  // namespace

GatedShape read_shape(const ModelConfig& config, const ModelInfo& info) {
  if (config.flag("use_bidirectional_attention", false))
    config.refuse("use_bidirectional_attention", "expected false: only causal attention is known.");
  GatedShape shape = read_gated_shape(config, info, kDefaults);
  shape.gate = read_gate(config, "hidden_activation", "gelu_pytorch_tanh");
  shape.scales_embedding = shape.gains_less_one = shape.post_norms = shape.head_norms = true;
  shape.qkv_bias = shape.out_bias = config.flag("attention_bias", false);
  shape.attention_scale = 1 / std::sqrt(config.number("query_pre_attn_scalar", 256));
  if (config.has("attn_logit_softcapping"))
    config.refuse("attn_logit_softcapping", "expected null: transformers does not obey it here.");
  shape.logit_cap = config.number("final_logit_softcapping", 0);
  shape.rotaries = read_rotaries(config, shape.head_width / 2);
  const std::size_t window = config.size("sliding_window", 4096);
  const std::size_t pattern = config.size("sliding_window_pattern", 6);
  const std::vector<bool> sliding = read_sliding(config, info);
  for (std::size_t i = 0; i < shape.layers.size(); ++i) {
    const bool slides = sliding.empty() ? (i + 1) % pattern != 0 : sliding[i];
    shape.layers[i] = {.window = slides ? window : 0, .rotary = slides ? kSliding : kAll};
  }
  return shape;
}

ModelInfo read_info(const ModelConfig& config) {
  return read_gated_info(config, "gemma3_text", kDefaults);
}

}  // namespace refract::gemma3
