#include "refract/pipeline/run_evaluation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/pipeline/identity.hpp"
#include "refract/stages/statistics.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;
using namespace nlohmann::literals;

// The text of a file of the analysis, after `check` found it to be one. Damaged names it.
std::string read_checked(const fs::path& file,
                         const std::function<void(const std::string&)>& check) {
  std::string text = read_file(file);
  try {
    check(text);
  } catch (const DataError&) {
    throw Damaged(
        "{} is damaged: {} bytes that are not what refract wrote. Run refract evaluate: it makes "
        "the file again.",
        file.string(), text.size());
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

std::vector<std::vector<std::string>> seed_families(const RunConfig& config) {
  std::map<std::string, std::vector<std::string>> by_settings;
  for (std::size_t i = 0; i < config.saes.size(); ++i) {
    Settings settings = training_settings(config, i);
    std::erase_if(settings, [](const auto& setting) {
      return setting.first == "sae.name" || setting.first == "sae.seed";
    });
    by_settings[as_text(settings)].push_back(config.saes[i].name);
  }
  std::vector<std::vector<std::string>> families;
  for (auto& [settings, names] : by_settings)
    if (names.size() > 1) families.push_back(std::move(names));
  return families;
}

RunEvaluation::RunEvaluation(const RunConfig& config, const RunFolder& folder)
    : names_(sae_names(config)) {
  for (const std::string& name : names_)
    if (fs::exists(folder.evaluation(name)))
      evaluations_[name] = read_checked(folder.evaluation(name), expect_evaluation);
  for (const std::string& hook : config.hooks)
    if (fs::exists(folder.statistics(hook)))
      statistics_[hook] = read_checked(folder.statistics(hook), [](const std::string& text) {
        (void)statistics_from_json(text);
      });
  for (std::vector<std::string>& names : seed_families(config)) {
    std::vector<std::string> texts;
    for (const std::string& name : names)
      if (has(name)) texts.push_back(text(name));
    if (texts.size() == names.size())
      families_.push_back(refract::seed_family(std::move(names), texts));
  }
}

std::string RunEvaluation::weights(const std::string& sae) const {
  const Json json = Json::parse(text(sae));
  return json.value("/parents/weights"_json_pointer, std::string());
}

const SeedFamily* RunEvaluation::family(const std::string& sae) const {
  for (const SeedFamily& family : families_)
    if (std::ranges::find(family.names, sae) != family.names.end()) return &family;
  return nullptr;
}

std::vector<TextTable> RunEvaluation::statistics_tables() const {
  std::vector<TextTable> all;
  for (const auto& [hook, text] : statistics_) {
    std::vector<TextTable> tables = tables_of(statistics_from_json(text));
    std::ranges::move(tables, std::back_inserter(all));
  }
  return all;
}

std::string RunEvaluation::describe(const Advice& advice) const {
  std::string out;
  for (const auto& [hook, statistics] : statistics_)
    out += refract::describe(statistics_from_json(statistics)) + "\n";
  for (const std::string& name : names_)
    if (has(name)) out += describe_evaluation(text(name), advice, family(name)) + "\n";
  return out;
}

std::string RunEvaluation::to_json() const {
  Json json{{"saes", Json::array()}, {"seeds", Json::array()}, {"statistics", Json::array()}};
  for (const std::string& name : names_)
    if (has(name)) json["saes"].push_back(Json::parse(text(name)));
  for (const SeedFamily& family : families_) {
    Json numbers = Json::object();
    for (const auto& [name, of] : family.numbers)
      numbers[name] = {{"mean", of.mean}, {"lo", of.low}, {"hi", of.high}};
    json["seeds"].push_back({{"names", family.names}, {"numbers", std::move(numbers)}});
  }
  for (const auto& [hook, statistics] : statistics_)
    json["statistics"].push_back(Json::parse(statistics));
  return json.dump();
}

}  // namespace refract
