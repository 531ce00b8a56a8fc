// GPT-NeoX and Pythia (Black et al. 2022; Biderman et al. 2023): attention and MLP side by side,
// queries and keys turned in their first dimensions, a head's query, key and value stored together.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "lm/arch_table.hpp"
#include "lm/block_tensors.hpp"
#include "lm/layer_norm_decoder.hpp"
#include "lm/rotary_config.hpp"
#include "refract/base/error.hpp"

namespace refract::gpt_neox {
namespace {

struct Hyper {
  std::size_t inner = 0, rotary = 0;  // rotary: dimensions of a head that turn
  bool bias = true, tied = false;
};

Hyper read_hyper(const ModelConfig& config, const ModelInfo& info) {
  const auto section = rotary_section(config);
  const double outer = config.number("rotary_pct", 0.25);
  const double share = section ? section->number("partial_rotary_factor", outer) : outer;
  const std::size_t head_width = info.d_model / info.heads;
  const auto rotary = static_cast<std::size_t>(static_cast<double>(head_width) * share);
  if (share <= 0 || share > 1 || rotary == 0 || rotary % 2 != 0)
    config.refuse("rotary_pct", fmt::format("expected a share that turns an even number of the {} "
                                            "dimensions of a head.",
                                            head_width));
  return {.inner = config.size("intermediate_size", 24576),
          .rotary = rotary,
          .bias = config.flag("attention_bias", true),
          .tied = config.flag("tie_word_embeddings", false)};
}

std::string prefix_of(const ModelWeights& weights) {
  return weights.contains("gpt_neox.embed_in.weight") ? "gpt_neox." : "";
}

BlockTensors tensors_of(const ModelWeights& weights, const ModelInfo& info, const Hyper& hyper) {
  const std::size_t d = info.d_model;
  const std::string prefix = prefix_of(weights);
  BlockTensors tensors(
      weights, info, prefix + "layers.",
      {"attention.bias", "attention.masked_bias", "attention.rotary_emb.inv_freq"});
  for (const char* norm : {"input_layernorm", "post_attention_layernorm"})
    tensors.add_norm(norm, d);
  tensors.add_linear("attention.query_key_value", 3 * d, d, hyper.bias);
  tensors.add_linear("attention.dense", d, d, hyper.bias);
  tensors.add_linear("mlp.dense_h_to_4h", hyper.inner, d, true);
  tensors.add_linear("mlp.dense_4h_to_h", d, hyper.inner, true);
  tensors.add_beside(prefix + "embed_in.weight", {info.vocab, d});
  for (const char* part : {"weight", "bias"})
    tensors.add_beside(fmt::format("{}final_layer_norm.{}", prefix, part), {d});
  if (!hyper.tied) tensors.add_beside("embed_out.weight", {info.vocab, d});
  return tensors;
}

// Rows [head][q, k, v][Dh] -> [q, k, v][head][Dh].
Tensor<float> with_parts_apart(const Tensor<float>& stored, std::size_t heads) {
  const bool matrix = stored.shape().rank() == 2;
  const std::size_t columns = matrix ? stored.axis(1) : 1, rows = stored.size() / columns,
                    head_width = rows / (3 * heads);
  Tensor<float> apart(stored.shape());
  for (std::size_t head = 0; head < heads; ++head)
    for (std::size_t part = 0; part < 3; ++part)
      std::copy_n(stored.data() + (head * 3 + part) * head_width * columns, head_width * columns,
                  apart.data() + (part * heads + head) * head_width * columns);
  return apart;
}

PackedMatrix read_qkv(const BlockTensors& tensors, std::size_t layer, const ModelInfo& info,
                      bool has_bias) {
  constexpr const char* kName = "attention.query_key_value";
  Stream stream;
  const Tensor<float> weight =
      with_parts_apart(tensors.read(layer, fmt::format("{}.weight", kName)), info.heads);
  if (!has_bias) return {weight.cview(), {}, stream};
  const Tensor<float> bias =
      with_parts_apart(tensors.read(layer, fmt::format("{}.bias", kName)), info.heads);
  return {weight.cview(), bias.cview(), stream};
}

}  // namespace

ModelInfo read_info(const ModelConfig& config) {
  ModelInfo info{.family = "gpt_neox",
                 .layers = config.size("num_hidden_layers", 44),
                 .d_model = config.size("hidden_size", 6144),
                 .heads = config.size("num_attention_heads", 64),
                 .vocab = config.size("vocab_size", 50432),
                 .max_positions = config.size("max_position_embeddings", 2048),
                 .bos_id = config.token_id("bos_token_id", 0),
                 .eos_id = config.token_id("eos_token_id", 2),
                 .parameter_bytes = 0};
  if (info.d_model % info.heads != 0)
    config.refuse("num_attention_heads",
                  fmt::format("which does not divide hidden_size {}.", info.d_model));
  const Hyper hyper = read_hyper(config, info);
  info.has_resid_mid = !config.flag("use_parallel_residual", true);
  const std::uint64_t d = info.d_model, inner = hyper.inner;
  const std::uint64_t block =
      4 * d + 4 * d * d + (hyper.bias ? 4 * d : 0) + 2 * d * inner + inner + d;
  info.block_parameters = block;
  info.attention_width = info.d_model;
  info.parameter_bytes =
      sizeof(float) * ((hyper.tied ? 1 : 2) * info.vocab * d + info.layers * block + 2 * d);
  return info;
}

void require(HookPoint hook, const ModelInfo& info) { require_of_layer_norm_decoder(hook, info); }

void check_weights(const ModelConfig& config, const ModelWeights& weights, const ModelInfo& info) {
  (void)read_activation(config, "hidden_act", "gelu");
  tensors_of(weights, info, read_hyper(config, info)).check();
}

std::unique_ptr<LanguageModel> load(const ModelConfig& config, const ModelWeights& weights,
                                    ModelInfo info) {
  const Activation activation = read_activation(config, "hidden_act", "gelu");
  const Hyper hyper = read_hyper(config, info);
  const BlockTensors tensors = tensors_of(weights, info, hyper);
  tensors.check();
  const std::string prefix = prefix_of(weights);
  LayerNormParts parts;
  parts.inner = hyper.inner;
  parts.eps = static_cast<float>(config.number("layer_norm_eps", 1e-5));
  parts.activation = activation;
  parts.side_by_side = !info.has_resid_mid;
  const auto section = rotary_section(config);
  const double outer = config.number("rotary_emb_base", 10000);
  parts.rotary_frequencies = rotary_frequencies(
      hyper.rotary / 2, section ? section->number("rope_theta", outer) : outer, config, section);
  parts.wte = tensors.read_beside(prefix + "embed_in.weight");
  const auto scale =
      static_cast<float>(1 / std::sqrt(static_cast<double>(info.d_model / info.heads)));
  for (std::size_t layer = 0; layer < info.layers; ++layer)
    parts.blocks.push_back({.ln_1 = tensors.norm(layer, "input_layernorm"),
                            .ln_2 = tensors.norm(layer, "post_attention_layernorm"),
                            .qkv = read_qkv(tensors, layer, info, hyper.bias),
                            .attn_out = tensors.stacked(layer, {"attention.dense"}),
                            .mlp_in = tensors.stacked(layer, {"mlp.dense_h_to_4h"}),
                            .mlp_out = tensors.stacked(layer, {"mlp.dense_4h_to_h"}),
                            .attention_scale = scale,
                            .window = 0});
  parts.ln_f = {tensors.read_beside(prefix + "final_layer_norm.weight"),
                tensors.read_beside(prefix + "final_layer_norm.bias")};
  parts.head = tensors.head(hyper.tied ? &parts.wte : nullptr, "embed_out.weight");
  return make_layer_norm_decoder(std::move(info), std::move(parts));
}

std::string hugging_face_module(HookPoint hook) {
  const auto of_block = [](int layer, std::string_view part) {
    return fmt::format("gpt_neox.layers.{}{}", layer, part);
  };
  switch (hook.site) {
    case Site::resid_pre:
      return hook.layer == 0 ? "gpt_neox.embed_in" : of_block(hook.layer - 1, "");
    case Site::attn_out: return of_block(hook.layer, ".attention");
    case Site::resid_mid: return "";
    case Site::ln2_normalized: return of_block(hook.layer, ".post_attention_layernorm");
    case Site::mlp_out: return of_block(hook.layer, ".mlp");
    case Site::resid_post: return of_block(hook.layer, "");
  }
  REFRACT_ASSERT(false, "site {}", static_cast<int>(hook.site));
}

}  // namespace refract::gpt_neox
