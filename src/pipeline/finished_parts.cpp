#include "pipeline/finished_parts.hpp"

#include <fmt/format.h>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/pipeline/results.hpp"
#include "refract/stages/evaluation_text.hpp"
#include "refract/stages/features.hpp"
#include "refract/stages/statistics.hpp"

namespace refract {
namespace {

Part text_part(std::string key, const fs::path& file) {
  return {std::move(key), file, [file] { return short_digest(read_file(file)); }};
}

// Of a file that this program must be able to read too: one of another build is made again.
Part readable_part(std::string key, const fs::path& file,
                   const std::function<void(const std::string&)>& check) {
  return {std::move(key), file, [file, check] {
            const std::string text = read_file(file);
            try {
              check(text);
            } catch (const DataError& error) {
              throw Damaged("{}: {}", file.string(), error.what());
            }
            return short_digest(text);
          }};
}

// inputs:content
std::string line_of(const std::string& inputs, const std::string& content) {
  return inputs + ":" + content;
}

bool holds(const Part& part, const std::string& recorded) {
  try {
    return fs::exists(part.file) && recorded.ends_with(fmt::format(":{}", part.content()));
  } catch (const Damaged&) {
    return false;
  }
}

}  // namespace

Part evaluated_part(const RunFolder& folder, const std::string& sae) {
  return readable_part("evaluate/" + sae, folder.evaluation(sae), expect_evaluation);
}

Part statistics_part(const RunFolder& folder, const std::string& hook) {
  return readable_part("statistics/" + hook, folder.statistics(hook),
                       [](const std::string& text) { (void)statistics_from_json(text); });
}

Part probed_part(const RunFolder& folder, const std::string& sae) {
  const fs::path file = folder.features(sae);
  return {"probe/" + sae, file, [file] { return verify_features(file).content_digest; }};
}

Part reported_part(const RunConfig& config, const RunFolder& folder) {
  return text_part("report", folder.root / config.report.file);
}

std::string inputs_digest(const std::string& inputs) { return short_digest(inputs); }

bool is_finished(const RunState& state, const Part& part, const std::string& inputs) {
  const auto found = state.finished.find(part.key);
  if (found == state.finished.end() || !found->second.starts_with(inputs + ":")) return false;
  if (holds(part, found->second)) return true;
  warn(fmt::format("{} is {}: it is made again", part.file.string(),
                   fs::exists(part.file) ? "damaged or was changed" : "missing"));
  return false;
}

void finish(Ledger& ledger, const Part& part, const std::string& inputs,
            const std::string& content) {
  ledger.finished(part.key, line_of(inputs, content));
}

std::string unfinished_part(const RunConfig& config, const RunFolder& folder,
                            const RunState& state) {
  std::vector<Part> parts;
  if (config.evaluate.statistics)
    for (const std::string& hook : config.hooks) parts.push_back(statistics_part(folder, hook));
  for (const SaeConfig& sae : config.saes) {
    parts.push_back(evaluated_part(folder, sae.name));
    parts.push_back(probed_part(folder, sae.name));
  }
  parts.push_back(reported_part(config, folder));
  for (const Part& part : parts) {
    const auto found = state.finished.find(part.key);
    if (found == state.finished.end() || !holds(part, found->second)) return part.file.string();
  }
  return {};
}

}  // namespace refract
