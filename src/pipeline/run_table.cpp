#include "refract/pipeline/run_table.hpp"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "refract/sae/variant.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

// Headings of the log, in its order, and where a measured one lies in evaluation.json.
struct Column {
  const char* heading;
  const char* measured = nullptr;
};
constexpr Column kColumns[] = {{"codeDimsMultiplier"},
                               {"l1Strength"},
                               {"epochs"},
                               {"batchSize"},
                               {"topkFeatures"},
                               {"learningRate"},
                               {"modelDims"},
                               {"codeDims"},
                               {"MSE", "/inference/mse"},
                               {"R^2", "/inference/r2"},
                               {"density", "/inference/density"},
                               {"dead rate", "/inference/dead_rate"},
                               {"Gini", "/inference/gini"},
                               {"cosine mean", "/decoder/decoder_cosine_mean"},
                               {"p95", "/decoder/decoder_cosine_p95"},
                               {"max", "/decoder/decoder_cosine_max"},
                               {"mean active", "/inference/l0"}};

std::string number(double value, Digits digits) {
  if (std::isnan(value)) return "";
  return digits == Digits::all ? fmt::format("{}", value) : fmt::format("{:.5g}", value);
}

}  // namespace

double l1_strength(const SaeConfig& sae, double d_in) {
  if (penalty_kind(sae) != "l1") return 0;
  if (sae.normalize != "none") return std::numeric_limits<double>::quiet_NaN();
  return sae.penalty.coefficient * static_cast<double>(sae.d_sae) / d_in;
}

TextTable run_table(const RunConfig& config, const RunEvaluation& found, Digits digits) {
  TextTable table;
  for (const Column& column : kColumns) table.columns.emplace_back(column.heading);
  table.columns.emplace_back("SAE");
  for (const SaeConfig& sae : config.saes) {
    if (!found.has(sae.name)) continue;
    const Json evaluation = Json::parse(found.text(sae.name));
    const auto d_in = evaluation.at("d_in").get<double>(),
               d_sae = evaluation.at("d_sae").get<double>();
    const auto epochs = static_cast<double>(config.train.passes_per_chunk) *
                        static_cast<double>(config.train.corpus_passes);
    std::vector<std::string>& row = table.rows.emplace_back();
    row = {number(d_sae / d_in, digits),
           number(l1_strength(sae, d_in), digits),
           number(epochs, Digits::all),
           fmt::to_string(config.train.batch_rows),
           sae.k == 0 ? "none" : fmt::to_string(sae.k),
           number(sae.optimizer.lr, digits),
           number(d_in, Digits::all),
           number(d_sae, Digits::all)};
    for (const Column& column : kColumns) {
      if (!column.measured) continue;
      const nlohmann::json::json_pointer at(column.measured);
      row.push_back(evaluation.contains(at) ? number(evaluation.at(at).get<double>(), digits) : "");
    }
    row.push_back(sae.name);
  }
  return table;
}

}  // namespace refract
