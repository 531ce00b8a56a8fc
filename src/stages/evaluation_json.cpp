#include "refract/stages/evaluation_json.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kPairsShown = 100;

void add(Json& json, const MetricReport& report) {
  json["rows"] = report.rows;
  json["documents"] = report.documents;
  for (const MetricValue& value : report.values) {
    json[value.name] = value.value;
    json[value.name + "_lo"] = value.low;
    json[value.name + "_hi"] = value.high;
  }
}

Json json_of(const MetricReport& report) {
  Json json;
  add(json, report);
  return json;
}

Json json_of(const DensityHistogram& densities) {
  return {{"log10_from", -DensityHistogram::kDecades},
          {"bins_per_decade", DensityHistogram::kBinsPerDecade},
          {"features", densities.features},
          {"never", densities.never}};
}

// The numbers that have a metric's name.
std::vector<std::pair<std::string, double>> numbers_of(const DecoderGeometry& decoder) {
  if (decoder.pairs == 0) return {};
  return {{"decoder_cosine_mean", decoder.cosine_mean},
          {"decoder_cosine_p95", decoder.cosine_p95},
          {"decoder_cosine_abs_p95", decoder.absolute_cosine_p95},
          {"decoder_cosine_max", decoder.cosine_max},
          {"nearest_cosine_mean", decoder.nearest_mean},
          {"nearest_cosine_p50", decoder.nearest_p50},
          {"nearest_cosine_p95", decoder.nearest_p95},
          {"near_duplicates", static_cast<double>(decoder.near_duplicates)}};
}

Json json_of(const DecoderGeometry& decoder) {
  Json json{{"features", decoder.features}, {"live", decoder.live}, {"pairs", decoder.pairs}};
  for (const auto& [name, value] : numbers_of(decoder)) json[name] = value;
  json["near_duplicates"] = decoder.near_duplicates;
  Json pairs = Json::array();
  for (std::size_t i = 0; i < std::min(kPairsShown, decoder.strongest.size()); ++i)
    pairs.push_back({decoder.strongest[i].i, decoder.strongest[i].j, decoder.strongest[i].cosine});
  json["strongest"] = std::move(pairs);
  json["histogram"] = decoder.histogram;
  return json;
}

Json json_of(const RowDrift& rows) {
  return {{"rows", rows.rows},
          {"zero_rows", rows.zero_rows},
          {"cosine_mean", rows.mean},
          {"cosine_p05", rows.p05},
          {"share_drifted", rows.share_drifted}};
}

Json json_of(const DriftSince& since) {
  return {{"checkpoint", since.checkpoint},
          {"decoder", json_of(since.drift.decoder)},
          {"encoder", json_of(since.drift.encoder)},
          {"b_dec_cosine", since.drift.b_dec_cosine}};
}

Json json_of(const BaselineEvaluation& baseline) {
  Json json{{"components", baseline.facts.components}, {"kept", baseline.facts.kept}};
  if (baseline.facts.fitting_rows != 0) {
    json["fitting_rows"] = baseline.facts.fitting_rows;
    json["iterations"] = baseline.facts.iterations;
    json["converged"] = baseline.facts.converged;
  }
  add(json, baseline.report);
  return json;
}

Json json_of(const Verdict& verdict) {
  Json json{{"rule", verdict.rule},
            {"metric", verdict.metric},
            {"title", verdict.title},
            {"value", verdict.value},
            {"state", to_string(verdict.state)},
            {"side", to_string(verdict.side)},
            {"good", verdict.good},
            {"sentence", verdict.sentence},
            {"fix", verdict.fix},
            {"field", verdict.field}};
  if (verdict.control) json["control"] = *verdict.control;
  if (verdict.chance) json["chance"] = *verdict.chance;
  json["notes"] = verdict.notes;
  return json;
}

void add(MetricValues& values, const std::string& prefix, const MetricReport& report) {
  for (const MetricValue& value : report.values) values[prefix + value.name] = value.value;
}

}  // namespace

std::string to_json(const MetricReport& report) { return json_of(report).dump(); }

std::string to_json(const SaeEvaluation& evaluation, const Parents& parents) {
  Json json{{"schema", "evaluation"},        {"version", kSchemaVersion},
            {"stage", "evaluate"},           {"parents", parents},
            {"name", evaluation.name},       {"hook", evaluation.hook},
            {"variant", evaluation.variant}, {"d_in", evaluation.d_in},
            {"d_sae", evaluation.d_sae}};
  if (!evaluation.target_hook.empty()) {
    json["target_hook"] = evaluation.target_hook;
    json["d_out"] = evaluation.d_out;
  }
  json["inference"] = json_of(evaluation.inference);
  json["inference"]["unseen_at_most"] = 3.0 / static_cast<double>(evaluation.inference.rows);
  json["densities"] = json_of(evaluation.densities);
  if (evaluation.training_mode) json["training_mode"] = json_of(*evaluation.training_mode);
  if (evaluation.training)
    json["training"] = {{"dead", evaluation.training->dead},
                        {"dead_training", static_cast<double>(evaluation.training->dead) /
                                              static_cast<double>(evaluation.d_sae)},
                        {"dead_after_rows", evaluation.training->dead_after_rows}};
  json["decoder"] = json_of(evaluation.decoder);
  json["chance"] = json_of(evaluation.chance);
  json["drift"] = Json::array();
  for (const DriftSince& drift : evaluation.drift) json["drift"].push_back(json_of(drift));
  json["baselines"] = Json::object();
  for (const BaselineEvaluation& baseline : evaluation.baselines)
    json["baselines"][baseline.name] = json_of(baseline);
  if (evaluation.spliced_loss) json["spliced_loss"] = json_of(*evaluation.spliced_loss);
  if (evaluation.random_spliced_loss)
    json["random_spliced_loss"] = json_of(*evaluation.random_spliced_loss);
  json["verdicts"] = Json::array();
  for (const Verdict& verdict : evaluation.verdicts) json["verdicts"].push_back(json_of(verdict));
  return json.dump();
}

MeasuredSae measured(const SaeEvaluation& evaluation) {
  MeasuredSae sae;
  sae.variant = evaluation.variant;
  sae.d_in = evaluation.d_in;
  sae.d_sae = evaluation.d_sae;
  sae.rows = evaluation.inference.rows;
  add(sae.values, "", evaluation.inference);
  if (evaluation.spliced_loss) add(sae.values, "", *evaluation.spliced_loss);
  if (evaluation.training)
    sae.values["dead_training"] =
        static_cast<double>(evaluation.training->dead) / static_cast<double>(evaluation.d_sae);
  for (const auto& [name, value] : numbers_of(evaluation.decoder)) sae.values[name] = value;
  for (const auto& [name, value] : numbers_of(evaluation.chance)) {
    sae.chance[name] = value;
    sae.control[name] = value;
  }
  for (const BaselineEvaluation& baseline : evaluation.baselines) {
    add(sae.values, baseline.name + ".", baseline.report);
    if (baseline.name == "random") add(sae.control, "", baseline.report);
  }
  if (evaluation.random_spliced_loss) add(sae.control, "", *evaluation.random_spliced_loss);
  return sae;
}

}  // namespace refract
