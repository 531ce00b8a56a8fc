#pragma once
// Decoders with layer norms and a plain MLP: GPT-2, GPT-Neo, GPT-NeoX.
//   x0 = wte[id] [+ wpe[position]]
//   one after the other:  x += Attn(LN1(x));  x += MLP(LN2(x))
//   side by side:         x += Attn(LN1(x)) + MLP(LN2(x))
//   logits = LN(x) head^T
// A family's file makes the parts from its folder; nothing below asks which family it is.
#include <memory>
#include <vector>

#include "lm/block_tensors.hpp"
#include "lm/model_config.hpp"
#include "refract/lm/language_model.hpp"
#include "refract/ops/gemm.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

struct LayerNormBlock {
  LayerNorm ln_1, ln_2;
  PackedMatrix qkv;       // [3D, D]: q of all heads, then k, then v
  PackedMatrix attn_out;  // [D, D]
  PackedMatrix mlp_in;    // [I, D]
  PackedMatrix mlp_out;   // [D, I]
  float attention_scale = 1;
  std::size_t window = 0;  // keys a query sees, itself included; 0: all before it
};

enum class Activation { gelu_tanh, gelu };

struct LayerNormParts {
  Tensor<float> wte;                       // [V, D]
  Tensor<float> wpe;                       // [P, D]; empty: positions are not added
  std::vector<double> rotary_frequencies;  // [r / 2], of the first r dimensions; empty: none turn
  std::vector<LayerNormBlock> blocks;
  LayerNorm ln_f;
  PackedMatrix head;  // [V, D]
  std::size_t inner = 0;
  float eps = 1e-5F;
  Activation activation = Activation::gelu_tanh;
  bool side_by_side = false;  // as ModelInfo::has_resid_mid says
};

[[nodiscard]] std::unique_ptr<LanguageModel> make_layer_norm_decoder(ModelInfo info,
                                                                     LayerNormParts parts);
// ConfigError when such a decoder has no such hook point.
void require_of_layer_norm_decoder(HookPoint hook, const ModelInfo& info);
// DataError names an activation that is neither.
[[nodiscard]] Activation read_activation(const ModelConfig& config, const char* key,
                                         std::string_view absent);

}  // namespace refract
