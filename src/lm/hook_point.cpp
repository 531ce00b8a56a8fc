#include "refract/lm/hook_point.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <tuple>
#include <vector>

#include "refract/base/error.hpp"

namespace refract {
namespace {

struct SiteName {
  Site site;
  std::string_view word;
};
constexpr std::array<SiteName, 6> kSites{{{Site::resid_pre, "hook_resid_pre"},
                                          {Site::resid_mid, "hook_resid_mid"},
                                          {Site::resid_post, "hook_resid_post"},
                                          {Site::attn_out, "hook_attn_out"},
                                          {Site::ln2_normalized, "ln2.hook_normalized"},
                                          {Site::mlp_out, "hook_mlp_out"}}};

constexpr std::string_view kPrefix = "blocks.";

[[noreturn]] void refuse(std::string_view text) {
  std::vector<std::string_view> words;
  for (const auto& known : kSites) words.push_back(known.word);
  throw ConfigError(
      "hook '{}' is not a hook point. Write blocks.LAYER.SITE with LAYER from 0 and SITE one of "
      "{}, e.g. blocks.4.hook_resid_post; LAYER may be -1 for the last or 50% for the one in the "
      "middle, and last is blocks.-1.hook_resid_post.",
      text, fmt::join(words, ", "));
}

}  // namespace

std::string name(HookPoint hook) {
  for (const auto& known : kSites) {
    if (known.site == hook.site) return fmt::format("blocks.{}.{}", hook.layer, known.word);
  }
  REFRACT_ASSERT(false, "site {}", static_cast<int>(hook.site));
}

bool comes_before(HookPoint hook, HookPoint other) {
  return std::tie(hook.layer, hook.site) < std::tie(other.layer, other.site);
}

HookPoint parse_hook_point(std::string_view text) {
  if (!text.starts_with(kPrefix)) refuse(text);
  const std::string_view rest = text.substr(kPrefix.size());
  const std::size_t dot = rest.find('.');
  if (dot == std::string_view::npos) refuse(text);
  const std::string_view number = rest.substr(0, dot), word = rest.substr(dot + 1);
  HookPoint hook;
  const auto [end, failure] =
      std::from_chars(number.data(), number.data() + number.size(), hook.layer);
  const bool canonical = failure == std::errc{} && end == number.data() + number.size() &&
                         hook.layer >= 0 && (number.size() == 1 || number.front() != '0') &&
                         number.front() != '-';
  if (!canonical) refuse(text);
  for (const auto& known : kSites) {
    if (known.word != word) continue;
    hook.site = known.site;
    return hook;
  }
  refuse(text);
}

bool is_relative_hook_point(std::string_view text) {
  if (text == "last") return true;
  if (!text.starts_with(kPrefix)) return false;
  const std::string_view layer = text.substr(kPrefix.size());
  return layer.starts_with('-') || layer.substr(0, layer.find('.')).ends_with('%');
}

std::string resolve_hook_point(std::string_view text, std::size_t layers) {
  if (!is_relative_hook_point(text)) return std::string(text);
  if (text == "last") text = "blocks.-1.hook_resid_post";
  const std::string_view rest = text.substr(kPrefix.size());
  const std::string_view layer = rest.substr(0, rest.find('.'));
  const auto count = static_cast<std::int64_t>(layers);
  std::int64_t number = 0;
  const auto [end, failure] = std::from_chars(layer.data(), layer.data() + layer.size(), number);
  const bool is_share = layer.ends_with('%');
  if (failure != std::errc{} || end != layer.data() + layer.size() - (is_share ? 1 : 0) ||
      (is_share && (number < 0 || number > 100)))
    refuse(text);
  const std::int64_t at = is_share ? std::min(count * number / 100, count - 1) : count + number;
  if (at < 0)
    throw ConfigError("hook '{}' does not exist: the model has {} layers, the first is blocks.{}.",
                      text, layers, -count);
  return fmt::format("{}{}{}", kPrefix, at, rest.substr(layer.size()));
}

}  // namespace refract
