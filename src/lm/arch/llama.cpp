// Llama 2 and 3 (Touvron et al. 2023; Grattafiori et al. 2024), and SmolLM2, which has its class:
// gated_decoder.hpp with silu, and nothing of the optional parts unless the config says so.
#include "lm/arch_table.hpp"
#include "lm/rotary_config.hpp"

namespace refract::llama {
namespace {

// LlamaConfig of transformers.
constexpr GatedDefaults kDefaults{.layers = 32,
                                  .d_model = 4096,
                                  .heads = 32,
                                  .kv_heads = 0,
                                  .inner = 11008,
                                  .vocab = 32000,
                                  .bos_id = 1,
                                  .eos_id = 2,
                                  .positions = 2048};

}  // namespace

GatedShape read_shape(const ModelConfig& config, const ModelInfo& info) {
  GatedShape shape = read_gated_shape(config, info, kDefaults);
  shape.gate = read_gate(config, "hidden_act", "silu");
  shape.qkv_bias = shape.out_bias = config.flag("attention_bias", false);
  shape.mlp_bias = config.flag("mlp_bias", false);
  shape.rotaries = {rotary_frequencies(shape.head_width, config)};
  return shape;
}

ModelInfo read_info(const ModelConfig& config) {
  return read_gated_info(config, "llama", kDefaults);
}

}  // namespace refract::llama
