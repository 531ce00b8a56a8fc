#pragma once
// What a configuration's settings change: the store, an SAE, an analysis. What changes nothing
// (paths, quotas, layout) is in no digest.
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "refract/base/error.hpp"
#include "refract/pipeline/run_config.hpp"
#include "refract/stages/download.hpp"

namespace refract {

using Settings = std::vector<std::pair<std::string, std::string>>;
// The settings that change the activation store, the SAEs, or the analysis; never paths, quotas or
// layout.
[[nodiscard]] Settings store_settings(const RunConfig& config);
[[nodiscard]] Settings training_settings(const RunConfig& config, std::size_t sae);
// Those of one part of the analysis, and of all of them together.
[[nodiscard]] Settings evaluate_settings(const RunConfig& config);
[[nodiscard]] Settings statistics_settings(const RunConfig& config);
[[nodiscard]] Settings probe_settings(const RunConfig& config);
[[nodiscard]] Settings report_settings(const RunConfig& config);
[[nodiscard]] Settings results_settings(const RunConfig& config);
[[nodiscard]] std::string as_text(const Settings& settings);
// What exists already, and so which settings can change no more: nothing is frozen before something
// that depends on it is there.
enum class Depends { store, training };
// "train.clip: was 1, is now 2" for the first setting of that kind that differs, or empty.
[[nodiscard]] std::string first_difference(const RunConfig& frozen, const RunConfig& now,
                                           Depends depends);
// Of what is frozen by now: of the store's settings when the store exists (`stored`), of training's
// when a checkpoint does (`trained`); or empty.
[[nodiscard]] std::string frozen_difference(const RunConfig& frozen, const RunConfig& now,
                                            bool stored, bool trained);
// What a start with such a difference is refused with, by the dry run as by the run.
[[nodiscard]] ConfigError other_configuration(const std::filesystem::path& run,
                                              const std::string& difference);
[[nodiscard]] ConfigError other_numerics(const std::filesystem::path& run,
                                         const std::string& difference);
// "shard b.jsonl is new" for the first shard that differs by name, size or content, or empty.
[[nodiscard]] std::string first_difference(const DownloadPlan& frozen, const DownloadPlan& now);
// What a model is by content: its config.json and weights, each by name and SHA-256.
[[nodiscard]] std::string model_digest(
    const std::filesystem::path& folder,
    const std::function<std::string(const std::filesystem::path&)>& sha256);

// corpus.json of a run: what the frozen corpus consists of, so that a difference can be named.
[[nodiscard]] std::string corpus_text(const DownloadPlan& plan);
// Nothing where it is not there or cannot be read: the store's parents still tell another corpus.
[[nodiscard]] std::optional<DownloadPlan> read_corpus(const std::filesystem::path& file);
// "source.from: shard b.jsonl is new" where corpus.json says that the run was begun with another,
// or empty.
[[nodiscard]] std::string corpus_difference(const std::filesystem::path& file,
                                            const DownloadPlan& now);

}  // namespace refract
