#pragma once
// One row per architecture: config.json's model_type and how to open such a folder.
#include <memory>
#include <span>
#include <string_view>

#include "lm/model_config.hpp"
#include "lm/model_weights.hpp"
#include "refract/lm/language_model.hpp"

namespace refract {

struct Architecture {
  std::string_view model_type;
  // Sizes from config.json alone.
  ModelInfo (*read_info)(const ModelConfig& config);
  std::unique_ptr<LanguageModel> (*load)(const ModelConfig& config, const ModelWeights& weights,
                                         ModelInfo info);
};

[[nodiscard]] std::span<const Architecture> architectures();

namespace gpt2 {
ModelInfo read_info(const ModelConfig& config);
std::unique_ptr<LanguageModel> load(const ModelConfig& config, const ModelWeights& weights,
                                    ModelInfo info);
}  // namespace gpt2

}  // namespace refract
