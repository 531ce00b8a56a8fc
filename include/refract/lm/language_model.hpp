#pragma once
// A decoder-only language model run forward, with taps. The model knows tensors and taps, not who
// listens.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "refract/lm/hook_point.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

struct ModelInfo {
  std::string family;             // config.json model_type, e.g. "gpt2"
  std::string name_or_path = {};  // as config.json calls the model; empty: it does not
  std::size_t layers = 0, d_model = 0, heads = 0, vocab = 0, max_positions = 0;
  std::int64_t bos_id = -1, eos_id = -1;  // -1: none
  bool has_resid_mid = true;          // false: attention and MLP read the same stream, side by side
  std::uint64_t parameter_bytes = 0;  // as fp32
  std::uint64_t block_parameters = 0;  // of one block
  std::size_t attention_width = 0;     // of all query heads
};

// N tokens in S segments. Attention is causal inside a segment and never crosses one; positions are
// given, so the caller decides whether they restart (packed, document) or run on (concat: one
// segment per context).
struct PackedTokens {
  std::span<const std::uint32_t> ids;             // [N]
  std::span<const std::uint32_t> positions;       // [N]
  std::span<const std::uint32_t> segment_starts;  // [S + 1], first 0, last N
};

// Called at each hook point in forward order. A tap that reads leaves `values` alone; a tap that
// edits (steering, splicing an SAE in) writes into it and the model goes on with what it finds.
// `values` lies on the stream's device: what a tap enqueues on `stream` is in order with the model,
// and a tap that reads on the host waits for the stream first.
class Tap {
 public:
  virtual ~Tap() = default;
  virtual void at(HookPoint hook, TensorView<float> values /* [N, D] f32 */, Stream& stream) = 0;
};

// [N]: 1 for a token that has a successor in its segment, 0 for the last of each.
[[nodiscard]] std::vector<std::uint8_t> has_successor(const PackedTokens& tokens);

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  [[nodiscard]] virtual const ModelInfo& info() const = 0;
  // Throws ConfigError listing what exists when the model has no such hook point.
  virtual void require(HookPoint hook) const = 0;
  // Runs blocks 0..last_layer (inclusive), never the unembedding. The result of a token depends
  // only on its own segment's ids and positions and on its place in the call's panels
  // (ops/gemm.hpp), so equal calls give equal bytes for any number of threads.
  virtual void forward(const PackedTokens& tokens, int last_layer, Tap& tap,
                       Stream& stream) const = 0;
  // Runs the whole model but for the unembedding. normed [N, D] f32: the stream behind the final
  // norm, which unembed() reads. What is promised of a token is that of forward().
  virtual void forward_to_unembedding(const PackedTokens& tokens, Tap& tap,
                                      TensorView<float> normed, Stream& stream) const = 0;
  // logits [n, V] f32 of n rows of a call's `normed`, from first_row on.
  virtual void unembed(TensorView<const float> normed, std::size_t first_row,
                       TensorView<float> logits, Stream& stream) const = 0;
  // Runs the whole model; nll[i] = -log p(ids[i+1] | ...) for the tokens that have a successor in
  // their segment (has_successor), 0 for the last of each segment. nll [N] f32.
  void next_token_nll(const PackedTokens& tokens, Tap& tap, std::span<float> nll,
                      Stream& stream) const;
};

// Tokens whose logits are held at once: 64 MiB of them, and 16 to 256 tokens.
[[nodiscard]] std::size_t unembedded_at_once(const ModelInfo& info);
// [N]: the token behind each, for the last 0.
[[nodiscard]] std::vector<std::uint32_t> successors(const PackedTokens& tokens);

// Opens a Hugging Face model folder (config.json, *.safetensors). Throws DataError naming the file
// and the field: missing, unreadable, truncated, unknown architecture, tensor of another shape;
// NumericalError naming tensor, row, column and file for a weight that is not finite.
[[nodiscard]] std::unique_ptr<LanguageModel> load_language_model(
    const std::filesystem::path& folder);
// As far as can be seen without loading it: the architecture, the hook points, and that its weights
// are whole, with every tensor in its shape. Throws as load_language_model and require do.
void check_language_model(const std::filesystem::path& folder, std::span<const HookPoint> hooks);
// config.json and the weights, sorted by name: what the model is, by content. DataError as above.
[[nodiscard]] std::vector<std::filesystem::path> model_files(const std::filesystem::path& folder);
// Reads config.json and sizes only.
[[nodiscard]] ModelInfo read_model_info(const std::filesystem::path& folder);
// The module of transformers' causal model of this family that puts out what the hook point has,
// e.g. transformer.h.4; empty: there is none.
[[nodiscard]] std::string hugging_face_module(std::string_view family, HookPoint hook);

}  // namespace refract
