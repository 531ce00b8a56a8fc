#include "lm/packed_tokens.hpp"

#include <algorithm>

#include "refract/base/error.hpp"

namespace refract {

void expect_fits(const PackedTokens& tokens, const ModelInfo& info) {
  const auto starts = tokens.segment_starts;
  REFRACT_ASSERT(tokens.positions.size() == tokens.ids.size(), "{} ids, {} positions",
                 tokens.ids.size(), tokens.positions.size());
  REFRACT_ASSERT(!starts.empty() && starts.front() == 0 && starts.back() == tokens.ids.size() &&
                     std::is_sorted(starts.begin(), starts.end()),
                 "segments do not tile {} tokens", tokens.ids.size());
  for (std::size_t i = 0; i < tokens.ids.size(); ++i) {
    if (tokens.ids[i] >= info.vocab) {
      throw DataError(
          "token id {} (place {} of the call) is outside the model's vocabulary of {}. The tokens "
          "were made with another tokenizer: tokenize again for this model.",
          tokens.ids[i], i, info.vocab);
    }
    if (tokens.positions[i] >= info.max_positions) {
      throw ConfigError(
          "position {} does not exist in this model, which has {} (config.json n_positions). Lower "
          "tokens.context to at most {}.",
          tokens.positions[i], info.max_positions, info.max_positions);
    }
  }
}

std::vector<std::uint8_t> has_successor(const PackedTokens& tokens) {
  std::vector<std::uint8_t> out(tokens.ids.size(), 1);
  for (std::size_t s = 1; s < tokens.segment_starts.size(); ++s)
    if (tokens.segment_starts[s] > tokens.segment_starts[s - 1])
      out[tokens.segment_starts[s] - 1] = 0;
  return out;
}

std::vector<std::uint32_t> successors(const PackedTokens& tokens) {
  const std::size_t rows = tokens.ids.size();
  std::vector<std::uint32_t> out(tokens.ids.begin() + (rows > 0 ? 1 : 0), tokens.ids.end());
  out.resize(rows, 0);
  return out;
}

void expect_layer(HookPoint hook, const ModelInfo& info) {
  if (hook.layer >= 0 && static_cast<std::size_t>(hook.layer) < info.layers) return;
  throw ConfigError("hook {} does not exist: this {} model has {} layers, blocks.0 to blocks.{}.",
                    name(hook), info.family, info.layers, info.layers - 1);
}

}  // namespace refract
