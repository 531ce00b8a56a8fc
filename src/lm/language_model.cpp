#include "refract/lm/language_model.hpp"

#include "lm/arch_table.hpp"
#include "refract/base/error.hpp"

namespace refract {
namespace {

const Architecture& architecture_of(const ModelConfig& config) {
  const std::string model_type = config.word("model_type", "");
  std::string known;
  for (const auto& row : architectures()) {
    if (row.model_type == model_type) return row;
    known += known.empty() ? "" : ", ";
    known += row.model_type;
  }
  config.refuse("model_type",
                fmt::format("expected one of: {}. Choose a model of such an architecture.", known));
}

}  // namespace

std::unique_ptr<LanguageModel> load_language_model(const std::filesystem::path& folder) {
  const ModelConfig config(folder);
  const auto& architecture = architecture_of(config);
  const ModelWeights weights(folder);
  return architecture.load(config, weights, architecture.read_info(config));
}

void check_language_model(const std::filesystem::path& folder, std::span<const HookPoint> hooks) {
  const ModelConfig config(folder);
  const auto& architecture = architecture_of(config);
  const ModelInfo info = architecture.read_info(config);
  for (const HookPoint hook : hooks) architecture.require(hook, info);
  architecture.check_weights(config, ModelWeights(folder), info);
}

ModelInfo read_model_info(const std::filesystem::path& folder) {
  const ModelConfig config(folder);
  return architecture_of(config).read_info(config);
}

}  // namespace refract
