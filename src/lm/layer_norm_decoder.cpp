#include "lm/layer_norm_decoder.hpp"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "lm/activation_name.hpp"
#include "lm/block_decoder.hpp"
#include "refract/base/error.hpp"
#include "refract/ops/add.hpp"
#include "refract/ops/attention.hpp"
#include "refract/ops/embedding.hpp"
#include "refract/ops/gelu.hpp"
#include "refract/ops/gelu_new.hpp"
#include "refract/ops/layer_norm.hpp"
#include "refract/ops/rotate.hpp"

namespace refract {
namespace {

struct Activations {
  Activations(std::size_t rows, std::size_t d, std::size_t inner_width, bool side_by_side)
      : x({rows, d}),
        normed({rows, d}),
        qkv({rows, 3 * d}),
        heads({rows, d}),
        out({rows, d}),
        mlp_out({side_by_side ? rows : 0, d}),
        inner({rows, inner_width}) {}
  Tensor<float> x, normed, qkv, heads, out, mlp_out, inner;
};

class LayerNormDecoder final : public BlockDecoder<Activations> {
 public:
  LayerNormDecoder(ModelInfo info, LayerNormParts parts)
      : BlockDecoder(std::move(info)), parts_(std::move(parts)) {
    if (!parts_.rotary_frequencies.empty())
      rotary_.emplace(parts_.rotary_frequencies, 1.0, this->info().max_positions,
                      AngleRounding::none);
  }

  void require(HookPoint hook) const override { require_of_layer_norm_decoder(hook, info()); }

  void unembed(TensorView<const float> normed, std::size_t first_row, TensorView<float> logits,
               Stream& stream) const override {
    expect_shape(logits, "logits", {{"n", normed.axis(0)}, {"V", info().vocab}});
    gemm_nt(normed, parts_.head, logits, first_row, stream);
  }

 private:
  void run_blocks(const PackedTokens& tokens, int last_layer, Tap& tap, Activations& a,
                  Stream& stream) const override {
    const auto x = a.x.view().rows(0, tokens.ids.size());
    if (parts_.wpe.size() > 0)
      embed(tokens.ids, tokens.positions, parts_.wte.cview(), parts_.wpe.cview(), x, stream);
    else
      embed_tokens(tokens.ids, parts_.wte.cview(), 1.0F, x, stream);
    for (int layer = 0; layer <= last_layer; ++layer) {
      if (parts_.side_by_side)
        run_side_by_side(tokens, layer, tap, a, stream);
      else
        run_in_turn(tokens, layer, tap, a, stream);
    }
  }

  void run_in_turn(const PackedTokens& tokens, int layer, Tap& tap, Activations& a,
                   Stream& stream) const {
    const std::size_t rows = tokens.ids.size();
    const auto x = a.x.view().rows(0, rows), normed = a.normed.view().rows(0, rows),
               out = a.out.view().rows(0, rows);
    const LayerNormBlock& block = parts_.blocks[static_cast<std::size_t>(layer)];
    tap.at({layer, Site::resid_pre}, x, stream);

    normalise(x, block.ln_1, normed, stream);
    attend(tokens, block, normed, a, out, stream);
    tap.at({layer, Site::attn_out}, out, stream);
    add(x, out, stream);
    tap.at({layer, Site::resid_mid}, x, stream);

    normalise(x, block.ln_2, normed, stream);
    tap.at({layer, Site::ln2_normalized}, normed, stream);
    run_mlp(block, normed, a, out, stream);
    tap.at({layer, Site::mlp_out}, out, stream);
    add(x, out, stream);
    tap.at({layer, Site::resid_post}, x, stream);
  }

  void run_side_by_side(const PackedTokens& tokens, int layer, Tap& tap, Activations& a,
                        Stream& stream) const {
    const std::size_t rows = tokens.ids.size();
    const auto x = a.x.view().rows(0, rows), normed = a.normed.view().rows(0, rows),
               attn_out = a.out.view().rows(0, rows), mlp_out = a.mlp_out.view().rows(0, rows);
    const LayerNormBlock& block = parts_.blocks[static_cast<std::size_t>(layer)];
    tap.at({layer, Site::resid_pre}, x, stream);

    normalise(x, block.ln_1, normed, stream);
    attend(tokens, block, normed, a, attn_out, stream);
    tap.at({layer, Site::attn_out}, attn_out, stream);

    normalise(x, block.ln_2, normed, stream);
    tap.at({layer, Site::ln2_normalized}, normed, stream);
    run_mlp(block, normed, a, mlp_out, stream);
    tap.at({layer, Site::mlp_out}, mlp_out, stream);

    add(x, attn_out, stream);
    add(x, mlp_out, stream);
    tap.at({layer, Site::resid_post}, x, stream);
  }

  void attend(const PackedTokens& tokens, const LayerNormBlock& block,
              TensorView<const float> normed, Activations& a, TensorView<float> out,
              Stream& stream) const {
    const std::size_t rows = tokens.ids.size(), head_width = info().d_model / info().heads;
    const auto qkv = a.qkv.view().rows(0, rows), heads = a.heads.view().rows(0, rows);
    gemm_nt(normed, block.qkv, qkv, 0, stream);
    // Keys follow queries, so one call turns both.
    if (rotary_) rotate(qkv, tokens.positions, {0, 2 * info().heads, head_width}, *rotary_, stream);
    causal_attention(qkv, tokens.segment_starts,
                     {.heads = info().heads,
                      .kv_heads = info().heads,
                      .head_width = head_width,
                      .scale = block.attention_scale,
                      .window = block.window},
                     heads, stream);
    gemm_nt(heads, block.attn_out, out, 0, stream);
  }

  void run_mlp(const LayerNormBlock& block, TensorView<const float> normed, Activations& a,
               TensorView<float> out, Stream& stream) const {
    const auto inner = a.inner.view().rows(0, normed.axis(0));
    gemm_nt(normed, block.mlp_in, inner, 0, stream);
    if (parts_.activation == Activation::gelu)
      gelu(inner, stream);
    else
      gelu_new(inner, stream);
    gemm_nt(inner, block.mlp_out, out, 0, stream);
  }

  void normalise(TensorView<const float> x, const LayerNorm& norm, TensorView<float> y,
                 Stream& stream) const {
    layer_norm(x, norm.weight.cview(), norm.bias.cview(), parts_.eps, y, stream);
  }

  void final_norm(TensorView<const float> x, TensorView<float> normed,
                  Stream& stream) const override {
    normalise(x, parts_.ln_f, normed, stream);
  }
  std::unique_ptr<Activations> new_activations(std::size_t rows) const override {
    return std::make_unique<Activations>(rows, info().d_model, parts_.inner, parts_.side_by_side);
  }

  LayerNormParts parts_;
  std::optional<RotaryTables> rotary_;
};

}  // namespace

std::unique_ptr<LanguageModel> make_layer_norm_decoder(ModelInfo info, LayerNormParts parts) {
  return std::make_unique<LayerNormDecoder>(std::move(info), std::move(parts));
}

void require_of_layer_norm_decoder(HookPoint hook, const ModelInfo& info) {
  expect_layer(hook, info);
  if (!info.has_resid_mid && hook.site == Site::resid_mid)
    throw ConfigError(
        "hook {} does not exist: in this {} model attention and MLP read the same residual stream, "
        "so there is none between them. Take hook_resid_pre, hook_attn_out, hook_mlp_out or "
        "hook_resid_post.",
        name(hook), info.family);
}

Activation read_activation(const ModelConfig& config, const char* key, std::string_view absent) {
  const std::string name = config.word(key, absent);
  if (is_gelu(name)) return Activation::gelu;
  if (!is_gelu_tanh(name))
    config.refuse(key, fmt::format("expected gelu, gelu_python, {}.", kGeluTanhNames));
  return Activation::gelu_tanh;
}

}  // namespace refract
