// Mistral 7B (Jiang et al. 2023): Llama with a window in every layer, where the config has one.
#include <algorithm>

#include "lm/arch_table.hpp"
#include "lm/rotary_config.hpp"

namespace refract::mistral {
namespace {

// MistralConfig of transformers.
constexpr GatedDefaults kDefaults{.layers = 32,
                                  .d_model = 4096,
                                  .heads = 32,
                                  .kv_heads = 8,
                                  .inner = 14336,
                                  .vocab = 32000,
                                  .bos_id = 1,
                                  .eos_id = 2,
                                  .positions = 131072};
constexpr std::size_t kWindow = 4096;  // where the key is absent; null means none

}  // namespace

GatedShape read_shape(const ModelConfig& config, const ModelInfo& info) {
  GatedShape shape = read_gated_shape(config, info, kDefaults);
  shape.gate = read_gate(config, "hidden_act", "silu");
  shape.rotaries = {rotary_frequencies(shape.head_width, config)};
  const std::size_t window =
      config.is_null("sliding_window") ? 0 : config.size("sliding_window", kWindow);
  const std::vector<bool> sliding = read_sliding(config, info);
  if (std::ranges::count(sliding, true) % static_cast<std::ptrdiff_t>(info.layers) != 0)
    config.refuse("layer_types", "expected one kind: transformers gives every layer the window.");
  for (GatedLayer& layer : shape.layers) layer.window = window;
  return shape;
}

ModelInfo read_info(const ModelConfig& config) {
  return read_gated_info(config, "mistral", kDefaults);
}

}  // namespace refract::mistral
