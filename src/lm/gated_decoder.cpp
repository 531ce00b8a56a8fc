#include "lm/gated_decoder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "lm/activation_name.hpp"
#include "lm/block_decoder.hpp"
#include "lm/block_tensors.hpp"
#include "lm/rotary_config.hpp"
#include "refract/base/dtype.hpp"
#include "refract/base/error.hpp"
#include "refract/ops/add.hpp"
#include "refract/ops/attention.hpp"
#include "refract/ops/embedding.hpp"
#include "refract/ops/gate.hpp"
#include "refract/ops/gemm.hpp"
#include "refract/ops/rms_norm.hpp"
#include "refract/ops/rotate.hpp"
#include "refract/ops/soft_cap.hpp"

namespace refract {
namespace {

struct Block {
  Tensor<float> attn_norm, mlp_norm;            // [D]
  Tensor<float> attn_post_norm, mlp_post_norm;  // [D], where the shape has them
  Tensor<float> q_norm, k_norm;                 // [Dh], likewise
  PackedMatrix qkv;                             // [(H + 2 Hkv) Dh, D]
  PackedMatrix attn_out;                        // [D, H Dh]
  PackedMatrix gate_up;                         // [2 I, D]: gate, then up
  PackedMatrix mlp_out;                         // [D, I]
};
struct Weights {
  Tensor<float> embed;  // [V, D]
  float embed_scale = 1;
  std::vector<Block> blocks;
  Tensor<float> final_norm;  // [D]
  PackedMatrix head;         // [V, D]
};

constexpr const char* kAttnPostNorm = "post_attention_layernorm";
constexpr const char* kMlpPostNorm = "post_feedforward_layernorm";

// The folder's tensors by the names that all these families use.
class Reader {
 public:
  Reader(const ModelWeights& weights, const ModelInfo& info, const GatedShape& shape)
      : weights_(weights),
        info_(info),
        shape_(shape),
        prefix_(find_prefix()),
        table_(
            table_or_head(weights, prefix_ + "embed_tokens.weight", "lm_head.weight", shape.tied)),
        tensors_(weights, info, prefix_ + "layers.", {"self_attn.rotary_emb.inv_freq"}) {
    const std::size_t d = info.d_model, q = shape.heads * shape.head_width,
                      kv = shape.kv_heads * shape.head_width;
    tensors_.add_gain("input_layernorm", d);
    tensors_.add_gain(mlp_norm(), d);
    if (shape.post_norms)
      for (const char* norm : {kAttnPostNorm, kMlpPostNorm}) tensors_.add_gain(norm, d);
    if (shape.head_norms)
      for (const char* norm : {"self_attn.q_norm", "self_attn.k_norm"})
        tensors_.add_gain(norm, shape.head_width);
    tensors_.add_linear("self_attn.q_proj", q, d, shape.qkv_bias);
    tensors_.add_linear("self_attn.k_proj", kv, d, shape.qkv_bias);
    tensors_.add_linear("self_attn.v_proj", kv, d, shape.qkv_bias);
    tensors_.add_linear("self_attn.o_proj", d, q, shape.out_bias);
    tensors_.add_linear("mlp.gate_proj", shape.inner, d, shape.mlp_bias);
    tensors_.add_linear("mlp.up_proj", shape.inner, d, shape.mlp_bias);
    tensors_.add_linear("mlp.down_proj", d, shape.inner, shape.mlp_bias);
    tensors_.add_beside(table_, {info.vocab, d});
    tensors_.add_beside(prefix_ + "norm.weight", {d});
    if (!shape.tied) tensors_.add_beside("lm_head.weight", {info.vocab, d});
  }

  void check() const { tensors_.check(); }

  [[nodiscard]] Weights read() const {
    check();
    Weights w;
    w.embed = tensors_.read_beside(table_);
    if (shape_.scales_embedding) w.embed_scale = embedding_scale();
    for (std::size_t layer = 0; layer < info_.layers; ++layer)
      w.blocks.push_back(read_block(layer));
    w.final_norm = as_gain(tensors_.read_beside(prefix_ + "norm.weight"));
    w.head = tensors_.head(shape_.tied ? &w.embed : nullptr, "lm_head.weight");
    return w;
  }

 private:
  // With post-norms the name that Llama gives the norm before the MLP is that of one behind the
  // attention.
  [[nodiscard]] const char* mlp_norm() const {
    return shape_.post_norms ? "pre_feedforward_layernorm" : kAttnPostNorm;
  }

  // "model." as a causal model is saved; others as the decoder alone, or within a model of images.
  [[nodiscard]] std::string find_prefix() const {
    for (const char* prefix : {"model.", "", "language_model.model.", "model.language_model."})
      if (weights_.contains(fmt::format("{}layers.0.input_layernorm.weight", prefix)))
        return prefix;
    return "model.";
  }

  // transformers rounds it to the dtype in which it holds the weights: that of the file.
  [[nodiscard]] float embedding_scale() const {
    const auto exact = static_cast<float>(std::sqrt(static_cast<double>(info_.d_model)));
    return weights_.dtype(table_) == "BF16" ? to_float(to_bf16(exact)) : exact;
  }

  [[nodiscard]] Tensor<float> as_gain(Tensor<float> stored) const {
    if (shape_.gains_less_one)
      for (float& value : stored.span()) value += 1.0F;
    return stored;
  }

  [[nodiscard]] Block read_block(std::size_t layer) const {
    const auto gain = [&](std::string_view name) {
      return as_gain(tensors_.read(layer, fmt::format("{}.weight", name)));
    };
    Block b;
    b.attn_norm = gain("input_layernorm");
    b.mlp_norm = gain(mlp_norm());
    if (shape_.post_norms) {
      b.attn_post_norm = gain(kAttnPostNorm);
      b.mlp_post_norm = gain(kMlpPostNorm);
    }
    if (shape_.head_norms) {
      b.q_norm = gain("self_attn.q_norm");
      b.k_norm = gain("self_attn.k_norm");
    }
    b.qkv = tensors_.stacked(layer, {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"});
    b.attn_out = tensors_.stacked(layer, {"self_attn.o_proj"});
    b.gate_up = tensors_.stacked(layer, {"mlp.gate_proj", "mlp.up_proj"});
    b.mlp_out = tensors_.stacked(layer, {"mlp.down_proj"});
    return b;
  }

  const ModelWeights& weights_;
  const ModelInfo& info_;
  const GatedShape& shape_;
  std::string prefix_, table_;
  BlockTensors tensors_;
};

struct Activations {
  Activations(std::size_t rows, std::size_t d, const GatedShape& shape)
      : x({rows, d}),
        normed({rows, d}),
        qkv({rows, (shape.heads + 2 * shape.kv_heads) * shape.head_width}),
        heads({rows, shape.heads * shape.head_width}),
        out({rows, d}),
        gate_up({rows, 2 * shape.inner}),
        inner({rows, shape.inner}) {}
  Tensor<float> x, normed, qkv, heads, out, gate_up, inner;
};

class GatedDecoder final : public BlockDecoder<Activations> {
 public:
  GatedDecoder(ModelInfo info, GatedShape shape, Weights weights)
      : BlockDecoder(std::move(info)), shape_(std::move(shape)), weights_(std::move(weights)) {
    for (const std::vector<double>& frequencies : shape_.rotaries)
      rotaries_.emplace_back(frequencies, 1.0, this->info().max_positions, AngleRounding::none);
  }

  void require(HookPoint hook) const override { expect_layer(hook, info()); }

  void unembed(TensorView<const float> normed, std::size_t first_row, TensorView<float> logits,
               Stream& stream) const override {
    expect_shape(logits, "logits", {{"n", normed.axis(0)}, {"V", info().vocab}});
    gemm_nt(normed, weights_.head, logits, first_row, stream);
    if (shape_.logit_cap > 0) soft_cap(logits, static_cast<float>(shape_.logit_cap), stream);
  }

 private:
  void run_blocks(const PackedTokens& tokens, int last_layer, Tap& tap, Activations& a,
                  Stream& stream) const override {
    const std::size_t rows = tokens.ids.size();
    const auto x = a.x.view().rows(0, rows), normed = a.normed.view().rows(0, rows),
               qkv = a.qkv.view().rows(0, rows), heads = a.heads.view().rows(0, rows),
               out = a.out.view().rows(0, rows), gate_up = a.gate_up.view().rows(0, rows),
               inner = a.inner.view().rows(0, rows);
    embed_tokens(tokens.ids, weights_.embed.cview(), weights_.embed_scale, x, stream);
    for (int layer = 0; layer <= last_layer; ++layer) {
      const Block& block = weights_.blocks[static_cast<std::size_t>(layer)];
      tap.at({layer, Site::resid_pre}, x, stream);

      norm(x, block.attn_norm, normed, stream);
      gemm_nt(normed, block.qkv, qkv, 0, stream);
      attend(tokens, block, shape_.layers[static_cast<std::size_t>(layer)], qkv, heads, stream);
      gemm_nt(heads, block.attn_out, out, 0, stream);
      if (shape_.post_norms) norm(out, block.attn_post_norm, out, stream);
      tap.at({layer, Site::attn_out}, out, stream);
      add(x, out, stream);
      tap.at({layer, Site::resid_mid}, x, stream);

      norm(x, block.mlp_norm, normed, stream);
      tap.at({layer, Site::ln2_normalized}, normed, stream);
      gemm_nt(normed, block.gate_up, gate_up, 0, stream);
      if (shape_.gate == Gate::silu)
        silu_gate(gate_up, inner, stream);
      else
        gelu_gate(gate_up, inner, stream);
      gemm_nt(inner, block.mlp_out, out, 0, stream);
      if (shape_.post_norms) norm(out, block.mlp_post_norm, out, stream);
      tap.at({layer, Site::mlp_out}, out, stream);
      add(x, out, stream);
      tap.at({layer, Site::resid_post}, x, stream);
    }
  }

  void attend(const PackedTokens& tokens, const Block& block, const GatedLayer& layer,
              TensorView<float> qkv, TensorView<float> heads, Stream& stream) const {
    const std::size_t width = shape_.head_width;
    if (shape_.head_norms) {
      const auto eps = static_cast<float>(shape_.eps);
      rms_norm_heads(qkv, {0, shape_.heads, width}, block.q_norm.cview(), eps, stream);
      rms_norm_heads(qkv, {shape_.heads * width, shape_.kv_heads, width}, block.k_norm.cview(), eps,
                     stream);
    }
    // Keys follow queries, so one call turns both.
    rotate(qkv, tokens.positions, {0, shape_.heads + shape_.kv_heads, width},
           rotaries_[layer.rotary], stream);
    causal_attention(qkv, tokens.segment_starts,
                     {.heads = shape_.heads,
                      .kv_heads = shape_.kv_heads,
                      .head_width = width,
                      .scale = static_cast<float>(shape_.attention_scale),
                      .window = layer.window,
                      .soft_cap = static_cast<float>(shape_.score_cap)},
                     heads, stream);
  }

  void norm(TensorView<const float> x, const Tensor<float>& gain, TensorView<float> y,
            Stream& stream) const {
    rms_norm(x, gain.cview(), static_cast<float>(shape_.eps), y, stream);
  }

  void final_norm(TensorView<const float> x, TensorView<float> normed,
                  Stream& stream) const override {
    norm(x, weights_.final_norm, normed, stream);
  }
  std::unique_ptr<Activations> new_activations(std::size_t rows) const override {
    return std::make_unique<Activations>(rows, info().d_model, shape_);
  }

  GatedShape shape_;
  Weights weights_;
  std::vector<RotaryTables> rotaries_;
};

}  // namespace

ModelInfo read_gated_info(const ModelConfig& config, std::string_view family,
                          const GatedDefaults& defaults) {
  return {.family = std::string(family),
          .layers = config.size("num_hidden_layers", defaults.layers),
          .d_model = config.size("hidden_size", defaults.d_model),
          .heads = config.size("num_attention_heads", defaults.heads),
          .vocab = config.size("vocab_size", defaults.vocab),
          .max_positions = config.size("max_position_embeddings", defaults.positions),
          .bos_id = config.token_id("bos_token_id", defaults.bos_id),
          .eos_id = config.token_id("eos_token_id", defaults.eos_id),
          .parameter_bytes = 0};
}

GatedShape read_gated_shape(const ModelConfig& config, const ModelInfo& info,
                            const GatedDefaults& defaults) {
  GatedShape shape;
  shape.heads = info.heads;
  const bool as_heads = defaults.kv_heads == 0 || config.is_null("num_key_value_heads");
  shape.kv_heads = config.size("num_key_value_heads", as_heads ? info.heads : defaults.kv_heads);
  if (shape.heads % shape.kv_heads != 0)
    config.refuse("num_key_value_heads",
                  fmt::format("which does not divide num_attention_heads {}.", shape.heads));
  if (defaults.head_width == 0 && !config.has("head_dim") && info.d_model % info.heads != 0)
    config.refuse("num_attention_heads",
                  fmt::format("which does not divide hidden_size {}.", info.d_model));
  shape.head_width = config.size(
      "head_dim", defaults.head_width == 0 ? info.d_model / info.heads : defaults.head_width);
  if (shape.head_width % 2 != 0) config.refuse("head_dim", "expected an even number.");
  shape.inner = config.size("intermediate_size", defaults.inner);
  shape.eps = config.number("rms_norm_eps", 1e-6);
  shape.attention_scale = 1 / std::sqrt(static_cast<double>(shape.head_width));
  shape.tied = config.flag("tie_word_embeddings", defaults.tied);
  shape.layers.resize(info.layers);
  return shape;
}

Gate read_gate(const ModelConfig& config, const char* key, std::string_view absent) {
  const std::string name = config.word(key, absent);
  if (name == "silu" || name == "swish") return Gate::silu;
  if (!is_gelu_tanh(name))
    config.refuse(key, fmt::format("expected silu, swish or {}.", kGeluTanhNames));
  return Gate::gelu_tanh;
}

std::vector<bool> read_sliding(const ModelConfig& config, const ModelInfo& info) {
  const std::vector<std::string> types = config.words("layer_types");
  if (types.empty()) return {};
  if (types.size() != info.layers)
    config.refuse("layer_types", fmt::format("expected one for each of {} layers.", info.layers));
  std::vector<bool> sliding;
  for (const std::string& type : types) {
    if (type != "sliding_attention" && type != "full_attention")
      config.refuse("layer_types", "expected sliding_attention or full_attention.");
    sliding.push_back(type == "sliding_attention");
  }
  return sliding;
}

void read_qwen_windows(const ModelConfig& config, const ModelInfo& info, GatedShape& shape) {
  const std::vector<bool> sliding = read_sliding(config, info);
  if (!config.flag("use_sliding_window", false)) {
    if (std::ranges::find(sliding, true) != sliding.end())
      config.refuse("layer_types", "but use_sliding_window is not true. Keep what fits the model.");
    return;
  }
  const std::size_t window = config.size("sliding_window", 4096);
  const std::size_t first = config.whole_number("max_window_layers", 28);
  for (std::size_t i = 0; i < shape.layers.size(); ++i)
    if (sliding.empty() ? i >= first : sliding[i]) shape.layers[i].window = window;
}

void count_parameters(const GatedShape& shape, ModelInfo& info) {
  const std::uint64_t d = info.d_model, q = shape.heads * shape.head_width,
                      kv = shape.kv_heads * shape.head_width;
  std::uint64_t block = d * (q + 2 * kv) + q * d + 3 * d * shape.inner;
  block += (shape.post_norms ? 4 : 2) * d + (shape.head_norms ? 2 * shape.head_width : 0);
  block += (shape.qkv_bias ? q + 2 * kv : 0) + (shape.out_bias ? d : 0);
  block += shape.mlp_bias ? 2 * shape.inner + d : 0;
  info.block_parameters = block;
  info.attention_width = q;
  info.parameter_bytes =
      sizeof(float) * ((shape.tied ? 1 : 2) * info.vocab * d + info.layers * block + d);
}

void check_gated_weights(const ModelWeights& weights, const ModelInfo& info,
                         const GatedShape& shape) {
  Reader(weights, info, shape).check();
}

std::unique_ptr<LanguageModel> load_gated(const ModelWeights& weights, ModelInfo info,
                                          GatedShape shape) {
  Weights values = Reader(weights, info, shape).read();
  return std::make_unique<GatedDecoder>(std::move(info), std::move(shape), std::move(values));
}

std::string gated_module(HookPoint hook, bool post_norms) {
  const auto of_block = [](int layer, std::string_view part) {
    return fmt::format("model.layers.{}{}", layer, part);
  };
  switch (hook.site) {
    case Site::resid_pre:
      return hook.layer == 0 ? "model.embed_tokens" : of_block(hook.layer - 1, "");
    case Site::attn_out:
      return of_block(hook.layer, post_norms ? ".post_attention_layernorm" : ".self_attn");
    case Site::resid_mid: return "";
    case Site::ln2_normalized:
      return of_block(hook.layer,
                      post_norms ? ".pre_feedforward_layernorm" : ".post_attention_layernorm");
    case Site::mlp_out:
      return of_block(hook.layer, post_norms ? ".post_feedforward_layernorm" : ".mlp");
    case Site::resid_post: return of_block(hook.layer, "");
  }
  REFRACT_ASSERT(false, "site {}", static_cast<int>(hook.site));
}

}  // namespace refract
