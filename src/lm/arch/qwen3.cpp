// Qwen 3 (Yang et al. 2025): Llama with norms of each head's query and key before they are turned,
// and a head width of its own.
#include "lm/arch_table.hpp"
#include "lm/rotary_config.hpp"

namespace refract::qwen3 {
namespace {

// Qwen3Config of transformers.
constexpr GatedDefaults kDefaults{.layers = 32,
                                  .d_model = 4096,
                                  .heads = 32,
                                  .kv_heads = 32,
                                  .inner = 22016,
                                  .vocab = 151936,
                                  .positions = 32768,
                                  .head_width = 128};

}  // namespace

GatedShape read_shape(const ModelConfig& config, const ModelInfo& info) {
  GatedShape shape = read_gated_shape(config, info, kDefaults);
  shape.gate = read_gate(config, "hidden_act", "silu");
  shape.head_norms = true;
  shape.qkv_bias = shape.out_bias = config.flag("attention_bias", false);
  shape.rotaries = {rotary_frequencies(shape.head_width, config)};
  read_qwen_windows(config, info, shape);
  return shape;
}

ModelInfo read_info(const ModelConfig& config) {
  return read_gated_info(config, "qwen3", kDefaults);
}

}  // namespace refract::qwen3
