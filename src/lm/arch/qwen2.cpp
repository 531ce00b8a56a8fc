// Qwen 2 and 2.5 (Yang et al. 2024): Llama with biases in the products that make queries, keys and
// values.
#include "lm/arch_table.hpp"
#include "lm/rotary_config.hpp"

namespace refract::qwen2 {
namespace {

// Qwen2Config of transformers.
constexpr GatedDefaults kDefaults{.layers = 32,
                                  .d_model = 4096,
                                  .heads = 32,
                                  .kv_heads = 32,
                                  .inner = 22016,
                                  .vocab = 151936,
                                  .positions = 32768};

}  // namespace

GatedShape read_shape(const ModelConfig& config, const ModelInfo& info) {
  GatedShape shape = read_gated_shape(config, info, kDefaults);
  shape.gate = read_gate(config, "hidden_act", "silu");
  shape.qkv_bias = true;
  shape.rotaries = {rotary_frequencies(shape.head_width, config)};
  read_qwen_windows(config, info, shape);
  return shape;
}

ModelInfo read_info(const ModelConfig& config) {
  return read_gated_info(config, "qwen2", kDefaults);
}

}  // namespace refract::qwen2
