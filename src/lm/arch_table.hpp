#pragma once
// One row per architecture: config.json's model_type and how to open such a folder.
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "lm/gated_decoder.hpp"
#include "lm/model_config.hpp"
#include "lm/model_weights.hpp"
#include "refract/lm/language_model.hpp"

namespace refract {

struct Architecture {
  std::string_view model_type;
  // Sizes from config.json alone.
  ModelInfo (*read_info)(const ModelConfig& config);
  // ConfigError when such a model has no such hook point.
  void (*require)(HookPoint hook, const ModelInfo& info);
  // DataError when a tensor that `load` reads is missing or has another shape or dtype.
  void (*check_weights)(const ModelConfig& config, const ModelWeights& weights,
                        const ModelInfo& info);
  std::unique_ptr<LanguageModel> (*load)(const ModelConfig& config, const ModelWeights& weights,
                                         ModelInfo info);
  // language_model.hpp
  std::string (*hugging_face_module)(HookPoint hook);
};

[[nodiscard]] std::span<const Architecture> architectures();

namespace gpt2 {
ModelInfo read_info(const ModelConfig& config);
void require(HookPoint hook, const ModelInfo& info);
void check_weights(const ModelConfig& config, const ModelWeights& weights, const ModelInfo& info);
std::unique_ptr<LanguageModel> load(const ModelConfig& config, const ModelWeights& weights,
                                    ModelInfo info);
std::string hugging_face_module(HookPoint hook);
}  // namespace gpt2
namespace gpt_neo {
ModelInfo read_info(const ModelConfig& config);
void require(HookPoint hook, const ModelInfo& info);
void check_weights(const ModelConfig& config, const ModelWeights& weights, const ModelInfo& info);
std::unique_ptr<LanguageModel> load(const ModelConfig& config, const ModelWeights& weights,
                                    ModelInfo info);
}  // namespace gpt_neo
namespace gpt_neox {
ModelInfo read_info(const ModelConfig& config);
void require(HookPoint hook, const ModelInfo& info);
void check_weights(const ModelConfig& config, const ModelWeights& weights, const ModelInfo& info);
std::unique_ptr<LanguageModel> load(const ModelConfig& config, const ModelWeights& weights,
                                    ModelInfo info);
std::string hugging_face_module(HookPoint hook);
}  // namespace gpt_neox
// Families of gated_decoder.hpp.
namespace llama {
ModelInfo read_info(const ModelConfig& config);
GatedShape read_shape(const ModelConfig& config, const ModelInfo& info);
}  // namespace llama
namespace mistral {
ModelInfo read_info(const ModelConfig& config);
GatedShape read_shape(const ModelConfig& config, const ModelInfo& info);
}  // namespace mistral
namespace qwen2 {
ModelInfo read_info(const ModelConfig& config);
GatedShape read_shape(const ModelConfig& config, const ModelInfo& info);
}  // namespace qwen2
namespace qwen3 {
ModelInfo read_info(const ModelConfig& config);
GatedShape read_shape(const ModelConfig& config, const ModelInfo& info);
}  // namespace qwen3
namespace gemma2 {
ModelInfo read_info(const ModelConfig& config);
GatedShape read_shape(const ModelConfig& config, const ModelInfo& info);
}  // namespace gemma2
namespace gemma3 {
ModelInfo read_info(const ModelConfig& config);
GatedShape read_shape(const ModelConfig& config, const ModelInfo& info);
}  // namespace gemma3

}  // namespace refract
