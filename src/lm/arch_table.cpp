#include "lm/arch_table.hpp"

#include <array>
#include <utility>

#include "lm/packed_tokens.hpp"

namespace refract {
namespace {

// The row of a family that is told by its GatedShape.
template <ModelInfo (*ReadInfo)(const ModelConfig&),
          GatedShape (*ReadShape)(const ModelConfig&, const ModelInfo&), bool kPostNorms>
constexpr Architecture gated(std::string_view model_type) {
  return {
      model_type,
      [](const ModelConfig& config) {
        ModelInfo info = ReadInfo(config);
        count_parameters(ReadShape(config, info), info);
        return info;
      },
      [](HookPoint hook, const ModelInfo& info) { expect_layer(hook, info); },
      [](const ModelConfig& config, const ModelWeights& weights, const ModelInfo& info) {
        check_gated_weights(weights, info, ReadShape(config, info));
      },
      [](const ModelConfig& config, const ModelWeights& weights, ModelInfo info) {
        GatedShape shape = ReadShape(config, info);
        return load_gated(weights, std::move(info), std::move(shape));
      },
      [](HookPoint hook) { return gated_module(hook, kPostNorms); },
  };
}

constexpr std::array<Architecture, 9> kArchitectures{{
    {"gpt2", gpt2::read_info, gpt2::require, gpt2::check_weights, gpt2::load,
     gpt2::hugging_face_module},
    {"gpt_neo", gpt_neo::read_info, gpt_neo::require, gpt_neo::check_weights, gpt_neo::load,
     gpt2::hugging_face_module},
    {"gpt_neox", gpt_neox::read_info, gpt_neox::require, gpt_neox::check_weights, gpt_neox::load,
     gpt_neox::hugging_face_module},
    gated<llama::read_info, llama::read_shape, false>("llama"),
    gated<mistral::read_info, mistral::read_shape, false>("mistral"),
    gated<qwen2::read_info, qwen2::read_shape, false>("qwen2"),
    gated<qwen3::read_info, qwen3::read_shape, false>("qwen3"),
    gated<gemma2::read_info, gemma2::read_shape, true>("gemma2"),
    gated<gemma3::read_info, gemma3::read_shape, true>("gemma3_text"),
}};

}  // namespace

std::span<const Architecture> architectures() { return kArchitectures; }

}  // namespace refract
