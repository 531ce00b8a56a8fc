// GPT-2 (Radford et al. 2019), as Hugging Face stores it:
//   x0 = wte[id] + wpe[position]
//   x += softmax(q k^T / sqrt(Dh) [/ (layer + 1)]) v Wo + bo,   q|k|v = LN(x; ln_1) Wc + bc
//   x += gelu_new(LN(x; ln_2) W1 + b1) W2 + b2
//   logits = LN(x; ln_f) wte^T
// "Conv1D" weights are stored [in, out] and turned when loading.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "lm/arch_table.hpp"
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

// Tensor names, with whatever prefix this export uses.
class Reader {
 public:
  Reader(const ModelWeights& weights, const ModelInfo& info, const Hyper& hyper)
      : weights_(weights),
        info_(info),
        hyper_(hyper),
        prefix_(weights.contains("transformer.wpe.weight") ? "transformer." : "") {}

  // The tensors of read(), in its order.
  void check() const {
    refuse_unknown_block_tensors();
    const std::size_t d = info_.d_model, inner = hyper_.d_inner;
    const auto expect = [&](const std::string& name, Shape weight, Shape bias) {
      weights_.expect(name + ".weight", weight);
      weights_.expect(name + ".bias", bias);
    };
    weights_.expect(token_table_name(), {info_.vocab, d});
    weights_.expect(prefix_ + "wpe.weight", {info_.max_positions, d});
    for (std::size_t layer = 0; layer < info_.layers; ++layer) {
      const std::string block = fmt::format("{}h.{}.", prefix_, layer);
      expect(block + "ln_1", {d}, {d});
      expect(block + "ln_2", {d}, {d});
      expect(block + "attn.c_attn", {d, 3 * d}, {3 * d});
      expect(block + "attn.c_proj", {d, d}, {d});
      expect(block + "mlp.c_fc", {d, inner}, {inner});
      expect(block + "mlp.c_proj", {inner, d}, {d});
    }
    expect(prefix_ + "ln_f", {d}, {d});
    if (!hyper_.tied) weights_.expect("lm_head.weight", {info_.vocab, d});
  }

  LayerNormParts read() const {
    refuse_unknown_block_tensors();
    const std::size_t d = info_.d_model;
    LayerNormParts w;
    w.inner = hyper_.d_inner;
    w.eps = hyper_.eps;
    w.activation = Activation::gelu_tanh;
    w.wte = weights_.read(token_table_name(), {info_.vocab, d});
    w.wpe = weights_.read(prefix_ + "wpe.weight", {info_.max_positions, d});
    for (std::size_t layer = 0; layer < info_.layers; ++layer)
      w.blocks.push_back(read_block(layer));
    w.ln_f = read_norm(prefix_ + "ln_f");
    Stream stream;
    if (hyper_.tied)
      w.head.pack(w.wte.cview(), {}, stream);
    else
      w.head.pack(weights_.read("lm_head.weight", {info_.vocab, d}).cview(), {}, stream);
    return w;
  }

 private:
  // Some exports of tied models hold the table only under the head's name.
  std::string token_table_name() const {
    const std::string name = prefix_ + "wte.weight";
    const bool only_head =
        hyper_.tied && !weights_.contains(name) && weights_.contains("lm_head.weight");
    return only_head ? "lm_head.weight" : name;
  }

  LayerNorm read_norm(const std::string& name) const {
    return {weights_.read(name + ".weight", {info_.d_model}),
            weights_.read(name + ".bias", {info_.d_model})};
  }

  PackedMatrix read_conv1d(const std::string& name, std::size_t in, std::size_t out) const {
    Stream stream;
    return {weights_.read_transposed(name + ".weight", in, out).cview(),
            weights_.read(name + ".bias", {out}).cview(), stream};
  }

  LayerNormBlock read_block(std::size_t layer) const {
    const std::size_t d = info_.d_model;
    const std::string block = fmt::format("{}h.{}.", prefix_, layer);
    return {.ln_1 = read_norm(block + "ln_1"),
            .ln_2 = read_norm(block + "ln_2"),
            .qkv = read_conv1d(block + "attn.c_attn", d, 3 * d),
            .attn_out = read_conv1d(block + "attn.c_proj", d, d),
            .mlp_in = read_conv1d(block + "mlp.c_fc", d, hyper_.d_inner),
            .mlp_out = read_conv1d(block + "mlp.c_proj", hyper_.d_inner, d),
            .attention_scale = attention_scale(layer)};
  }

  float attention_scale(std::size_t layer) const {
    const double head_width = static_cast<double>(info_.d_model / info_.heads);
    const double by_head = hyper_.scale_by_head ? 1.0 / std::sqrt(head_width) : 1.0;
    return static_cast<float>(hyper_.scale_by_layer ? by_head / (static_cast<double>(layer) + 1)
                                                    : by_head);
  }

  // A tensor in a block that this file does not use means another architecture or other sizes; only
  // the causal masks that old exports hold are skipped.
  void refuse_unknown_block_tensors() const {
    constexpr std::array<std::string_view, 6> kParts{"ln_1",        "ln_2",     "attn.c_attn",
                                                     "attn.c_proj", "mlp.c_fc", "mlp.c_proj"};
    const std::string start = prefix_ + "h.";
    for (const std::string_view name : weights_.names()) {
      if (!name.starts_with(start)) continue;
      const std::string_view rest = name.substr(start.size());
      std::size_t layer = 0;
      const auto parsed = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
      const std::string_view part = rest.substr(
          std::min(rest.size(), static_cast<std::size_t>(parsed.ptr - rest.data()) + 1));
      const bool mask = part == "attn.bias" || part == "attn.masked_bias";
      const bool used = std::ranges::any_of(kParts, [&](std::string_view known) {
        return part == fmt::format("{}.weight", known) || part == fmt::format("{}.bias", known);
      });
      if (parsed.ec == std::errc{} && layer < info_.layers && (mask || used)) continue;
      throw DataError(
          "tensor '{}' is not part of a gpt2 model of {} layers. config.json belongs to other "
          "weights, or the architecture is another one: fetch the model again.",
          name, info_.layers);
    }
  }

  const ModelWeights& weights_;
  const ModelInfo& info_;
  const Hyper& hyper_;
  std::string prefix_;
};

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
  const Hyper hyper = read_hyper(config, info);
  Reader(weights, info, hyper).check();
}

std::unique_ptr<LanguageModel> load(const ModelConfig& config, const ModelWeights& weights,
                                    ModelInfo info) {
  const Hyper hyper = read_hyper(config, info);
  LayerNormParts parts = Reader(weights, info, hyper).read();
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
