#include "refract/pipeline/identity.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace refract {
namespace {

bool any_prefix(const std::string& key, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const std::string& prefix) { return key.starts_with(prefix); });
}

Settings selected(const RunConfig& config, const std::vector<std::string>& prefixes,
                  const std::vector<std::string>& without) {
  RunConfig copy = config;
  Settings out;
  for (auto& [key, value] : flatten([&](Fields& f) { describe(f, copy); }))
    if (any_prefix(key, prefixes) && !any_prefix(key, without)) out.emplace_back(key, value);
  return out;
}

}  // namespace

Settings store_settings(const RunConfig& c) {
  return selected(c,
                  {"source.", "tokens.", "rows.", "hooks", "calibration.", "heldout.", "extract.",
                   "store.", "train.tokens", "train.batch_rows", "train.input_scale"},
                  {"store.mode", "source.from", "source.max_shards", "tokens.keep_text"});
}

Settings training_settings(const RunConfig& c, std::size_t sae) {
  Settings out =
      selected(c, {"train."}, {"train.exchange", "train.reduction", "train.cache_bytes"});
  const std::string prefix = fmt::format("saes.{}.", sae);
  for (auto& [key, value] : selected(c, {prefix}, {}))
    out.emplace_back("sae." + key.substr(prefix.size()), value);
  return out;
}

// evaluate.curve_rows shapes the lines of metrics.jsonl alone.
Settings evaluate_settings(const RunConfig& c) {
  return selected(c, {"evaluate."}, {"evaluate.curve_rows"});
}
Settings probe_settings(const RunConfig& c) { return selected(c, {"probe."}, {}); }
Settings report_settings(const RunConfig& c) { return selected(c, {"report."}, {}); }

Settings analysis_settings(const RunConfig& c) {
  return selected(c, {"evaluate.", "probe.", "report."}, {});
}

std::string as_text(const Settings& settings) {
  std::string text;
  for (const auto& [key, value] : settings) text += key + "=" + value + "\n";
  return text;
}

std::string first_difference(const RunConfig& frozen, const RunConfig& now) {
  const std::vector<std::string> prefixes{"model",  "source.",      "tokens.",  "rows.",
                                          "hooks",  "calibration.", "heldout.", "extract.",
                                          "store.", "train.",       "saes."};
  const std::vector<std::string> free{"store.mode", "train.cache_bytes", "tokens.keep_text"};
  const Settings a = selected(frozen, prefixes, free), b = selected(now, prefixes, free);
  for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    if (i < a.size() && i < b.size() && a[i] == b[i]) continue;
    if (i >= a.size()) return fmt::format("{}: was absent, is now {}", b[i].first, b[i].second);
    if (i >= b.size() || a[i].first != b[i].first)
      return fmt::format("{}: was {}, is now absent or elsewhere", a[i].first, a[i].second);
    return fmt::format("{}: was {}, is now {}", a[i].first, a[i].second, b[i].second);
  }
  return "";
}

}  // namespace refract
