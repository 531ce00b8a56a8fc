// Gemma 2 (Gemma Team 2024): norms behind attention and MLP too, a window in every other layer,
// soft caps of scores and logits, a scaled embedding, gelu in the gate.
#include <cmath>

#include "lm/arch_table.hpp"
#include "lm/rotary_config.hpp"

namespace refract::gemma2 {
namespace {

// Gemma2Config of transformers.
constexpr GatedDefaults kDefaults{.layers = 26,
                                  .d_model = 2304,
                                  .heads = 8,
                                  .kv_heads = 4,
                                  .inner = 9216,
                                  .vocab = 256000,
                                  .bos_id = 2,
                                  .eos_id = 1,
                                  .positions = 8192,
                                  .head_width = 256,
                                  .tied = true};

}  // namespace

GatedShape read_shape(const ModelConfig& config, const ModelInfo& info) {
  GatedShape shape = read_gated_shape(config, info, kDefaults);
  shape.gate = read_gate(config, "hidden_activation", "gelu_pytorch_tanh");
  shape.scales_embedding = shape.gains_less_one = shape.post_norms = true;
  shape.qkv_bias = shape.out_bias = config.flag("attention_bias", false);
  shape.attention_scale = 1 / std::sqrt(config.number("query_pre_attn_scalar", 256));
  shape.score_cap =
      config.is_null("attn_logit_softcapping") ? 0 : config.number("attn_logit_softcapping", 50);
  shape.logit_cap =
      config.is_null("final_logit_softcapping") ? 0 : config.number("final_logit_softcapping", 30);
  shape.rotaries = {rotary_frequencies(shape.head_width, config)};
  const std::size_t window = config.size("sliding_window", 4096);
  const std::vector<bool> sliding = read_sliding(config, info);
  for (std::size_t i = 0; i < shape.layers.size(); ++i)
    if (sliding.empty() ? i % 2 == 0 : sliding[i]) shape.layers[i].window = window;
  return shape;
}

ModelInfo read_info(const ModelConfig& config) {
  return read_gated_info(config, "gemma2", kDefaults);
}

}  // namespace refract::gemma2
