// GPT-2 (Radford et al. 2019), as Hugging Face stores it:
//   x0 = wte[id] + wpe[position]
//   x += softmax(q k^T / sqrt(Dh) [/ (layer + 1)]) v Wo + bo,   q|k|v = LN(x; ln_1) Wc + bc
//   x += gelu_new(LN(x; ln_2) W1 + b1) W2 + b2
//   logits = LN(x; ln_f) wte^T
// "Conv1D" weights are stored [in, out] and turned when loading.
#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "lm/arch_table.hpp"
#include "lm/block_tensors.hpp"
#include "lm/layer_norm_decoder.hpp"
#include "refract/base/error.hpp"

namespace refract::gpt2 {
namespace {

// GPT2Config.attribute_map of transformers: what a setting may also be called.
constexpr SettingName kLayers{"n_layer", "num_hidden_layers"}, kWidth{"n_embd", "hidden_size"},
    kHeads{"n_head", "num_attention_heads"}, kPositions{"n_positions", "max_position_embeddings"};

struct Hyper {
  std::size_t d_inner = 0;
  float eps = 0;
  bool scale_by_head = true, scale_by_layer = false, tied = true;
};

Hyper read_hyper(const ModelConfig& config, const ModelInfo& info) {
  const std::string activation = config.word("activation_function", "gelu_new");
  if (activation != "gelu_new" && activation != "gelu_pytorch_tanh") {
    config.refuse("activation_function", "expected gelu_new or gelu_pytorch_tanh.");
  }
  if (config.flag("add_cross_attention", false))
    config.refuse("add_cross_attention", "expected false.");
  return {.d_inner = config.size("n_inner", 4 * info.d_model),
          .eps = static_cast<float>(config.number("layer_norm_epsilon", 1e-5)),
          .scale_by_head = config.flag("scale_attn_weights", true),
          .scale_by_layer = config.flag("scale_attn_by_inverse_layer_idx", false),
          .tied = config.flag("tie_word_embeddings", true)};
}

// With whatever prefix this export uses.
std::string prefix_of(const ModelWeights& weights) {
  return weights.contains("transformer.wpe.weight") ? "transformer." : "";
}

std::string table_name(const ModelWeights& weights, const Hyper& hyper) {
  return table_or_head(weights, prefix_of(weights) + "wte.weight", "lm_head.weight", hyper.tied);
}

BlockTensors tensors_of(const ModelWeights& weights, const ModelInfo& info, const Hyper& hyper) {
  const std::size_t d = info.d_model;
  const std::string prefix = prefix_of(weights);
  BlockTensors tensors(weights, info, prefix + "h.", {"attn.bias", "attn.masked_bias"});
  for (const char* norm : {"ln_1", "ln_2"}) tensors.add_norm(norm, d);
  tensors.add_conv1d("attn.c_attn", d, 3 * d);
  tensors.add_conv1d("attn.c_proj", d, d);
  tensors.add_conv1d("mlp.c_fc", d, hyper.d_inner);
  tensors.add_conv1d("mlp.c_proj", hyper.d_inner, d);
  tensors.add_beside(table_name(weights, hyper), {info.vocab, d});
  tensors.add_beside(prefix + "wpe.weight", {info.max_positions, d});
  for (const char* part : {"weight", "bias"})
    tensors.add_beside(fmt::format("{}ln_f.{}", prefix, part), {d});
  if (!hyper.tied) tensors.add_beside("lm_head.weight", {info.vocab, d});
  return tensors;
}

float attention_scale(const Hyper& hyper, const ModelInfo& info, std::size_t layer) {
  const double head_width = static_cast<double>(info.d_model / info.heads);
  const double by_head = hyper.scale_by_head ? 1.0 / std::sqrt(head_width) : 1.0;
  return static_cast<float>(hyper.scale_by_layer ? by_head / (static_cast<double>(layer) + 1)
                                                 : by_head);
}

}  // namespace

ModelInfo read_info(const ModelConfig& config) {
  ModelInfo info{.family = "gpt2",
                 .layers = config.size(kLayers, 12),
                 .d_model = config.size(kWidth, 768),
                 .heads = config.size(kHeads, 12),
                 .vocab = config.size("vocab_size", 50257),
                 .max_positions = config.size(kPositions, config.size("n_ctx", 1024)),
                 .bos_id = config.token_id("bos_token_id"),
                 .eos_id = config.token_id("eos_token_id"),
                 .parameter_bytes = 0};
  if (info.d_model % info.heads != 0) {
    config.refuse(kHeads, fmt::format("which does not divide {} {}.", config.name_used(kWidth),
                                      info.d_model));
  }
  const auto hyper = read_hyper(config, info);
  const std::uint64_t d = info.d_model, inner = hyper.d_inner;
  const std::uint64_t block =
      4 * d + (3 * d * d + 3 * d) + (d * d + d) + (d * inner + inner) + (inner * d + d);
  const std::uint64_t tables = (hyper.tied ? 1 : 2) * info.vocab * d + info.max_positions * d;
  info.block_parameters = block;
  info.attention_width = info.d_model;
  info.parameter_bytes = sizeof(float) * (tables + info.layers * block + 2 * d);
  return info;
}

void require(HookPoint hook, const ModelInfo& info) { require_of_layer_norm_decoder(hook, info); }

void check_weights(const ModelConfig& config, const ModelWeights& weights, const ModelInfo& info) {
  tensors_of(weights, info, read_hyper(config, info)).check();
}

std::unique_ptr<LanguageModel> load(const ModelConfig& config, const ModelWeights& weights,
                                    ModelInfo info) {
  const Hyper hyper = read_hyper(config, info);
  const BlockTensors tensors = tensors_of(weights, info, hyper);
  tensors.check();
  const std::string prefix = prefix_of(weights);
  LayerNormParts parts;
  parts.inner = hyper.d_inner;
  parts.eps = hyper.eps;
  parts.wte = tensors.read_beside(table_name(weights, hyper));
  parts.wpe = tensors.read_beside(prefix + "wpe.weight");
  for (std::size_t layer = 0; layer < info.layers; ++layer)
    parts.blocks.push_back({.ln_1 = tensors.norm(layer, "ln_1"),
                            .ln_2 = tensors.norm(layer, "ln_2"),
                            .qkv = tensors.conv1d(layer, "attn.c_attn"),
                            .attn_out = tensors.conv1d(layer, "attn.c_proj"),
                            .mlp_in = tensors.conv1d(layer, "mlp.c_fc"),
                            .mlp_out = tensors.conv1d(layer, "mlp.c_proj"),
                            .attention_scale = attention_scale(hyper, info, layer),
                            .window = 0});
  parts.ln_f = {tensors.read_beside(prefix + "ln_f.weight"),
                tensors.read_beside(prefix + "ln_f.bias")};
  parts.head = tensors.head(hyper.tied ? &parts.wte : nullptr, "lm_head.weight");
  return make_layer_norm_decoder(std::move(info), std::move(parts));
}

std::string hugging_face_module(HookPoint hook) {
  const auto of_block = [](int layer, std::string_view part) {
    return fmt::format("transformer.h.{}{}", layer, part);
  };
  switch (hook.site) {
    case Site::resid_pre:
      return hook.layer == 0 ? "transformer.drop" : of_block(hook.layer - 1, "");
    case Site::attn_out: return of_block(hook.layer, ".attn");
    case Site::resid_mid: return "";
    case Site::ln2_normalized: return of_block(hook.layer, ".ln_2");
    case Site::mlp_out: return of_block(hook.layer, ".mlp");
    case Site::resid_post: return of_block(hook.layer, "");
  }
  REFRACT_ASSERT(false, "site {}", static_cast<int>(hook.site));
}

}  // namespace refract::gpt2
