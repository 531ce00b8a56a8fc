#pragma once
// Decoders with RMS norms, rotary positions and a gated MLP: Llama and what came of it.
//   x  = s embed[id]
//   x += P1( Attn( N1(x) ) )      q, k, v = three products [+ biases]; q, k [normed per head],
//   rotated x += P2( (act(Wg m) * Wu m) Wd ),   m = N2(x) logits = [cap] N(x) head^T
// What a family has of the optional parts is settled when its folder is read: its file says it in a
// GatedShape, and nothing below asks which family it is.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lm/model_config.hpp"
#include "lm/model_weights.hpp"
#include "refract/lm/language_model.hpp"

namespace refract {

enum class Gate { silu, gelu_tanh };

struct GatedLayer {
  std::size_t window = 0;  // keys a query sees, itself included; 0: all before it
  std::size_t rotary = 0;  // index into GatedShape::rotaries
};

struct GatedShape {
  std::size_t heads = 0, kv_heads = 0, head_width = 0, inner = 0;
  double eps = 1e-6;
  double attention_scale = 1;
  double score_cap = 0, logit_cap = 0;  // soft caps; 0: none
  bool scales_embedding = false;        // by sqrt(D), rounded to the weights' dtype
  bool gains_less_one = false;          // norm gains are stored as gain - 1
  bool qkv_bias = false, out_bias = false, mlp_bias = false;
  bool head_norms = false;  // q_norm, k_norm
  bool post_norms = false;  // P1, P2
  bool tied = false;
  Gate gate = Gate::silu;
  std::vector<GatedLayer> layers;
  std::vector<std::vector<double>> rotaries;  // frequencies [Dh / 2] of each table
};

// config.json's keys that all these families share; defaults are those of the family's class.
struct GatedDefaults {
  std::size_t layers, d_model, heads, kv_heads, inner, vocab;  // kv_heads 0: as heads
  std::int64_t bos_id = -1, eos_id = -1;
  std::size_t positions;
  std::size_t head_width = 0;  // 0: d_model / heads
  bool tied = false;
};
[[nodiscard]] ModelInfo read_gated_info(const ModelConfig& config, std::string_view family,
                                        const GatedDefaults& defaults);
// heads, widths, eps, tied; one rotary table; every layer sees all.
[[nodiscard]] GatedShape read_gated_shape(const ModelConfig& config, const ModelInfo& info,
                                          const GatedDefaults& defaults);
// "silu" and the two names of gelu's tanh form; anything else is refused by name.
[[nodiscard]] Gate read_gate(const ModelConfig& config, const char* key, std::string_view absent);
// Qwen's: with use_sliding_window the layers that layer_types says, else those from
// max_window_layers on.
void read_qwen_windows(const ModelConfig& config, const ModelInfo& info, GatedShape& shape);
// layer_types, where the config has it: whether each layer slides. Its length must be the number of
// layers; only the two kinds are known.
[[nodiscard]] std::vector<bool> read_sliding(const ModelConfig& config, const ModelInfo& info);

// parameter_bytes, block_parameters and attention_width.
void count_parameters(const GatedShape& shape, ModelInfo& info);
void check_gated_weights(const ModelWeights& weights, const ModelInfo& info,
                         const GatedShape& shape);
[[nodiscard]] std::unique_ptr<LanguageModel> load_gated(const ModelWeights& weights, ModelInfo info,
                                                        GatedShape shape);
[[nodiscard]] std::string gated_module(HookPoint hook, bool post_norms);

}  // namespace refract
