// GPT-Neo (Black et al. 2021; TinyStories has its class): GPT-2 with products stored as they are
// used, scores that are not scaled, and a window in the layers that are "local".
#include <fmt/format.h>

#include <algorithm>

#include "lm/arch_table.hpp"
#include "lm/block_tensors.hpp"
#include "lm/layer_norm_decoder.hpp"
#include "refract/base/error.hpp"

namespace refract::gpt_neo {
namespace {

// GPTNeoConfig.attribute_map of transformers.
constexpr SettingName kLayers{"num_layers", "num_hidden_layers"},
    kHeads{"num_heads", "num_attention_heads"};

// attention_layers, else attention_types: [[["global", "local"], 12]] is the pair twelve times.
std::vector<std::string> attention_kinds(const ModelConfig& config, const ModelInfo& info) {
  std::vector<std::string> kinds = config.words("attention_layers");
  const auto* const types = config.value("attention_types");
  if (kinds.empty() && types != nullptr)
    for (const auto& group : *types) {
      if (!group.is_array() || group.size() != 2 || !group[0].is_array() ||
          !group[1].is_number_unsigned())
        config.refuse("attention_types", "expected lists of kinds, each with a count.");
      for (std::size_t i = 0; i < group[1].get<std::size_t>() && kinds.size() <= info.layers; ++i)
        for (const auto& kind : group[0])
          kinds.push_back(kind.is_string() ? kind.get<std::string>() : kind.dump());
    }
  if (kinds.empty())
    for (std::size_t i = 0; i < info.layers; ++i) kinds.push_back(i % 2 == 0 ? "global" : "local");
  const char* const key = config.has("attention_layers") ? "attention_layers" : "attention_types";
  if (kinds.size() != info.layers)
    config.refuse(key, fmt::format("expected one kind for each of {} layers.", info.layers));
  for (const std::string& kind : kinds)
    if (kind != "global" && kind != "local") config.refuse(key, "expected global or local.");
  return kinds;
}

std::size_t inner_width(const ModelConfig& config, const ModelInfo& info) {
  return config.size("intermediate_size", 4 * info.d_model);
}

bool is_tied(const ModelConfig& config) { return config.flag("tie_word_embeddings", true); }

std::string prefix_of(const ModelWeights& weights) {
  return weights.contains("transformer.wpe.weight") ? "transformer." : "";
}

std::string table_name(const ModelConfig& config, const ModelWeights& weights) {
  return table_or_head(weights, prefix_of(weights) + "wte.weight", "lm_head.weight",
                       is_tied(config));
}

BlockTensors tensors_of(const ModelConfig& config, const ModelWeights& weights,
                        const ModelInfo& info) {
  const std::size_t d = info.d_model, inner = inner_width(config, info);
  const std::string prefix = prefix_of(weights);
  BlockTensors tensors(weights, info, prefix + "h.",
                       {"attn.attention.bias", "attn.attention.masked_bias"});
  for (const char* norm : {"ln_1", "ln_2"}) tensors.add_norm(norm, d);
  for (const char* product : {"q_proj", "k_proj", "v_proj"})
    tensors.add_linear(fmt::format("attn.attention.{}", product), d, d, false);
  tensors.add_linear("attn.attention.out_proj", d, d, true);
  tensors.add_linear("mlp.c_fc", inner, d, true);
  tensors.add_linear("mlp.c_proj", d, inner, true);
  tensors.add_beside(table_name(config, weights), {info.vocab, d});
  tensors.add_beside(prefix + "wpe.weight", {info.max_positions, d});
  for (const char* part : {"weight", "bias"})
    tensors.add_beside(fmt::format("{}ln_f.{}", prefix, part), {d});
  if (!is_tied(config)) tensors.add_beside("lm_head.weight", {info.vocab, d});
  return tensors;
}

}  // namespace

ModelInfo read_info(const ModelConfig& config) {
  ModelInfo info{.family = "gpt_neo",
                 .layers = config.size(kLayers, 24),
                 .d_model = config.size("hidden_size", 2048),
                 .heads = config.size(kHeads, 16),
                 .vocab = config.size("vocab_size", 50257),
                 .max_positions = config.size("max_position_embeddings", 2048),
                 .bos_id = config.token_id("bos_token_id", 50256),
                 .eos_id = config.token_id("eos_token_id", 50256),
                 .parameter_bytes = 0};
  if (info.d_model % info.heads != 0)
    config.refuse(kHeads, fmt::format("which does not divide hidden_size {}.", info.d_model));
  const std::uint64_t d = info.d_model, inner = inner_width(config, info);
  const std::uint64_t block = 4 * d + 4 * d * d + d + 2 * d * inner + inner + d;
  const std::uint64_t tables = (is_tied(config) ? 1 : 2) * info.vocab * d + info.max_positions * d;
  info.block_parameters = block;
  info.attention_width = info.d_model;
  info.parameter_bytes = sizeof(float) * (tables + info.layers * block + 2 * d);
  return info;
}

void require(HookPoint hook, const ModelInfo& info) { require_of_layer_norm_decoder(hook, info); }

void check_weights(const ModelConfig& config, const ModelWeights& weights, const ModelInfo& info) {
  (void)attention_kinds(config, info);
  (void)read_activation(config, "activation_function", "gelu_new");
  tensors_of(config, weights, info).check();
}

std::unique_ptr<LanguageModel> load(const ModelConfig& config, const ModelWeights& weights,
                                    ModelInfo info) {
  const std::vector<std::string> kinds = attention_kinds(config, info);
  const Activation activation = read_activation(config, "activation_function", "gelu_new");
  const BlockTensors tensors = tensors_of(config, weights, info);
  tensors.check();
  const std::string prefix = prefix_of(weights);
  const std::size_t window = config.size("window_size", 256);
  LayerNormParts parts;
  parts.inner = inner_width(config, info);
  parts.eps = static_cast<float>(config.number("layer_norm_epsilon", 1e-5));
  parts.activation = activation;
  parts.wte = tensors.read_beside(table_name(config, weights));
  parts.wpe = tensors.read_beside(prefix + "wpe.weight");
  for (std::size_t layer = 0; layer < info.layers; ++layer)
    parts.blocks.push_back(
        {.ln_1 = tensors.norm(layer, "ln_1"),
         .ln_2 = tensors.norm(layer, "ln_2"),
         .qkv = tensors.stacked(
             layer, {"attn.attention.q_proj", "attn.attention.k_proj", "attn.attention.v_proj"}),
         .attn_out = tensors.stacked(layer, {"attn.attention.out_proj"}),
         .mlp_in = tensors.stacked(layer, {"mlp.c_fc"}),
         .mlp_out = tensors.stacked(layer, {"mlp.c_proj"}),
         .attention_scale = 1,
         .window = kinds[layer] == "local" ? window : 0});
  parts.ln_f = {tensors.read_beside(prefix + "ln_f.weight"),
                tensors.read_beside(prefix + "ln_f.bias")};
  parts.head = tensors.head(is_tied(config) ? &parts.wte : nullptr, "lm_head.weight");
  return make_layer_norm_decoder(std::move(info), std::move(parts));
}

}  // namespace refract::gpt_neo
