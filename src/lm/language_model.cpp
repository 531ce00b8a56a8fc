#include "refract/lm/language_model.hpp"

#include <algorithm>

#include "lm/arch_table.hpp"
#include "refract/base/error.hpp"
#include "refract/ops/token_nll.hpp"

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

std::size_t unembedded_at_once(const ModelInfo& info) {
  constexpr std::size_t kLogits = (std::size_t{64} << 20) / sizeof(float);
  return std::clamp<std::size_t>(kLogits / std::max<std::size_t>(info.vocab, 1), 16, 256);
}

void LanguageModel::next_token_nll(const PackedTokens& tokens, Tap& tap, std::span<float> nll,
                                   Stream& stream) const {
  const std::size_t rows = tokens.ids.size();
  REFRACT_ASSERT(nll.size() == rows, "nll {} tokens {}", nll.size(), rows);
  Tensor<float> normed({rows, info().d_model});
  forward_to_unembedding(tokens, tap, normed.view(), stream);
  const std::vector<std::uint32_t> targets = successors(tokens);
  const std::size_t at_once = std::min(unembedded_at_once(info()), rows);
  Tensor<float> logits({at_once, info().vocab});
  for (std::size_t first = 0; first < rows; first += at_once) {
    const std::size_t count = std::min(at_once, rows - first);
    const auto part = logits.view().rows(0, count);
    unembed(normed.cview().rows(first, count), first, part, stream);
    token_nll(part, std::span(targets).subspan(first, count), nll.subspan(first, count), stream);
  }
  const std::vector<std::uint8_t> predicts = has_successor(tokens);
  for (std::size_t i = 0; i < rows; ++i)
    if (predicts[i] == 0) nll[i] = 0;
}

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
  ModelInfo info = architecture_of(config).read_info(config);
  info.name_or_path = config.word("_name_or_path", "");
  return info;
}

std::string hugging_face_module(std::string_view family, HookPoint hook) {
  for (const auto& row : architectures())
    if (row.model_type == family) return row.hugging_face_module(hook);
  return "";
}

}  // namespace refract
