#include "refract/pipeline/identity.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "refract/base/digest.hpp"
#include "refract/base/file.hpp"
#include "refract/lm/language_model.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

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
                  {"tokens.", "rows.", "hooks", "calibration.", "heldout.", "extract.", "store."},
                  {"store.mode", "tokens.keep_text"});
}

Settings training_settings(const RunConfig& c, std::size_t sae) {
  Settings out =
      selected(c, {"train."},
               {"train.recipe", "train.exchange", "train.wire", "train.mesh", "train.groups",
                "train.reduction", "train.cache_bytes", "train.input_scale", "train.optimizer."});
  const std::string prefix = fmt::format("saes.{}.", sae);
  for (auto& [key, value] : selected(c, {prefix}, {}))
    out.emplace_back("sae." + key.substr(prefix.size()), value);
  return out;
}

// evaluate.curve_rows shapes the lines of metrics.jsonl alone; rules count by their content.
Settings evaluate_settings(const RunConfig& c) {
  return selected(c, {"evaluate."},
                  {"evaluate.curve_rows", "evaluate.advice", "evaluate.statistics"});
}
Settings statistics_settings(const RunConfig& c) {
  return selected(c, {"evaluate.statistics"}, {});
}
Settings probe_settings(const RunConfig& c) { return selected(c, {"probe."}, {}); }
Settings report_settings(const RunConfig& c) { return selected(c, {"report."}, {}); }

Settings results_settings(const RunConfig& c) {
  return selected(c, {"evaluate.", "probe.", "report."}, {"evaluate.advice"});
}

std::string as_text(const Settings& settings) {
  std::string text;
  for (const auto& [key, value] : settings) text += key + "=" + value + "\n";
  return text;
}

std::string first_difference(const RunConfig& frozen, const RunConfig& now, Depends depends) {
  const bool store = depends == Depends::store;
  const std::vector<std::string> prefixes =
      store ? std::vector<std::string>{"source.",      "tokens.",  "rows.",    "hooks",
                                       "calibration.", "heldout.", "extract.", "store."}
            : std::vector<std::string>{"train.", "saes."};
  // What the source holds is compared by content; the exchange is part of the numerics.
  const std::vector<std::string> free{"source.from",       "source.max_shards", "store.mode",
                                      "train.cache_bytes", "train.exchange",    "train.wire",
                                      "train.mesh",        "train.groups",      "train.recipe"};
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

std::string frozen_difference(const RunConfig& frozen, const RunConfig& now, bool stored,
                              bool trained) {
  std::string difference = stored ? first_difference(frozen, now, Depends::store) : "";
  if (difference.empty() && trained) difference = first_difference(frozen, now, Depends::training);
  return difference;
}

ConfigError other_configuration(const fs::path& run, const std::string& difference) {
  return ConfigError(
      "the run in {} was started with another configuration: {}. Give this one another folder "
      "(--set run=...), or go back to the old setting.",
      run.string(), difference);
}

ConfigError other_numerics(const fs::path& run, const std::string& difference) {
  return ConfigError(
      "the run in {} was trained with other numerics: {}. Its bytes would differ from a run never "
      "stopped: start it as before, or go on all the same with --allow-numerics-change.",
      run.string(), difference);
}

std::string first_difference(const DownloadPlan& frozen, const DownloadPlan& now) {
  if (frozen.digest == now.digest && frozen.shards.size() == now.shards.size()) return "";
  for (std::size_t i = 0; i < std::max(frozen.shards.size(), now.shards.size()); ++i) {
    if (i >= frozen.shards.size()) return fmt::format("shard {} is new", now.shards[i].name);
    if (i >= now.shards.size() || frozen.shards[i].name != now.shards[i].name)
      return fmt::format("shard {} of {} was {}, is now {}", i + 1, frozen.shards.size(),
                         frozen.shards[i].name,
                         i < now.shards.size() ? now.shards[i].name : "absent");
    if (frozen.shards[i].bytes != now.shards[i].bytes ||
        frozen.shards[i].hash != now.shards[i].hash)
      return fmt::format("shard {} has other content ({} bytes, were {})", now.shards[i].name,
                         now.shards[i].bytes, frozen.shards[i].bytes);
  }
  return fmt::format("the source's digest was {}, is now {}", frozen.digest, now.digest);
}

std::string corpus_text(const DownloadPlan& plan) {
  Json shards = Json::array();
  for (const ShardRef& shard : plan.shards)
    shards.push_back({{"name", shard.name},
                      {"bytes", shard.bytes},
                      {"hash", shard.hash},
                      {"hash_kind", shard.hash_kind}});
  Json json{{"digest", plan.digest}, {"shards", shards}};
  json["check"] = short_digest(json.dump());
  return json.dump(1) + "\n";
}

std::optional<DownloadPlan> read_corpus(const fs::path& file) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return std::nullopt;
  try {
    Json json = Json::parse(read_file(file));
    const std::string check = json.at("check");
    json.erase("check");
    if (check != short_digest(json.dump())) return std::nullopt;
    DownloadPlan plan;
    plan.digest = json.at("digest");
    for (const Json& shard : json.at("shards")) {
      ShardRef& ref = plan.shards.emplace_back();
      ref.name = shard.at("name");
      ref.bytes = shard.at("bytes");
      ref.hash = shard.at("hash");
      ref.hash_kind = shard.at("hash_kind");
    }
    return plan;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

std::string corpus_difference(const fs::path& file, const DownloadPlan& now) {
  const std::optional<DownloadPlan> frozen = read_corpus(file);
  const std::string difference = frozen ? first_difference(*frozen, now) : std::string();
  return difference.empty() ? difference : "source.from: " + difference;
}

std::string model_digest(const fs::path& folder,
                         const std::function<std::string(const fs::path&)>& sha256) {
  std::string text = "model 2\n";
  for (const fs::path& file : model_files(folder))
    text += fmt::format("{} {}\n", file.filename().string(), sha256(file));
  return short_digest(text);
}

}  // namespace refract
