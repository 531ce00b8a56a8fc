#include "refract/pipeline/analysis.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/pipeline/identity.hpp"
#include "refract/sae/checkpoint.hpp"
#include "refract/stages/evaluate.hpp"
#include "refract/stages/probe.hpp"
#include "refract/stages/report.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

// What an analysis of this SAE depends on.
std::string analysis_digest(Session& session, const std::vector<TrainedSae>& saes,
                            const std::string& stage) {
  std::string text =
      stage + " 1\n" + as_text(analysis_settings(session.config())) + session.store_digest() + "\n";
  for (const TrainedSae& sae : saes)
    text += sae.config.name + "=" + weights_digest(sae.state.parameters) + "\n";
  return short_digest(text);
}

bool up_to_date(const Ledger& ledger, const std::string& stage, const std::string& digest,
                const std::vector<fs::path>& files) {
  const auto& finished = ledger.state().finished;
  const auto found = finished.find(stage);
  return found != finished.end() && found->second == digest &&
         std::all_of(files.begin(), files.end(),
                     [](const fs::path& file) { return fs::exists(file); });
}

std::vector<fs::path> files_of(const std::vector<TrainedSae>& saes,
                               const std::function<fs::path(const std::string&)>& path) {
  std::vector<fs::path> files;
  for (const TrainedSae& sae : saes) files.push_back(path(sae.config.name));
  return files;
}

ProbeTarget target_of(const EvaluatedSae& sae, const std::string& name) {
  return {.name = name,
          .hook = sae.config->hook,
          .features = sae.parameters->d_sae(),
          .input_scale = static_cast<float>(sae.input_scale),
          .encode = sae_encoder(*sae.variant, *sae.parameters),
          .parameters = sae.parameters};
}

std::vector<float> scaled(std::vector<float> values, double scale) {
  for (float& value : values) value *= static_cast<float>(scale);
  return values;
}

EvaluatedSae evaluated(const TrainedSae& sae) {
  return {.config = &sae.config,
          .variant = sae.variant.get(),
          .parameters = &sae.state.parameters,
          .input_scale = sae.input_scale};
}

ChunkReader open_heldout(Session& session) {
  return ChunkReader(session.folder().heldout(), {{"store", session.store_digest()}});
}

std::vector<ReadableCount> count_controls(
    const ProbeCorpus& corpus, Session& session, const TrainedSae& sae,
    std::map<std::tuple<std::string, double, std::size_t>, ReadableCount>& neurons) {
  const HookCalibration& hook = session.calibration().of(sae.config.hook);
  const double l0 = sae.config.k != 0 ? 0
                                      : evaluate_rows(evaluated(sae), open_heldout(session),
                                                      session.config().evaluate.seed,
                                                      session.config().evaluate.curve_rows)
                                            .of("l0")
                                            .value;
  const RandomControl random = random_control(evaluated(sae), hook, l0);
  std::vector<ReadableCount> counts{count_readable(
      corpus, target_of({&random.config, random.variant.get(), &random.parameters, sae.input_scale},
                        "frozen random"))};
  const std::size_t k = std::min<std::size_t>(random.config.k, hook.d_in / 2);
  auto [entry, fresh] = neurons.try_emplace({sae.config.hook, sae.input_scale, k});
  if (fresh)
    entry->second =
        count_readable(corpus, {.name = "neurons",
                                .hook = sae.config.hook,
                                .features = hook.d_in,
                                .input_scale = static_cast<float>(sae.input_scale),
                                .encode = neuron_encoder(scaled(hook.mean, sae.input_scale), k),
                                .parameters = nullptr});
  counts.push_back(entry->second);
  return counts;
}

std::vector<std::pair<std::string, std::string>> facts_of(const SaeConfig& sae) {
  return {{"variant", sae.variant},
          {"features", std::to_string(sae.d_sae)},
          {"k", std::to_string(sae.k)},
          {"seed", std::to_string(sae.seed)},
          {"hook", sae.hook}};
}

// A table of evaluation.json: every number with its interval.
ReportTable evaluation_table(const std::string& name, const Json& evaluation) {
  const Json& inference = evaluation.at("inference");
  ReportTable table{
      .title = fmt::format("Evaluation of {}", name),
      .note = fmt::format(
          "{} held-out rows of {} documents; 95 % intervals by bootstrap over documents",
          inference.at("rows").get<std::uint64_t>(),
          inference.at("documents").get<std::uint64_t>()),
      .columns = {"measure", "value", "95 % interval"},
      .rows = {}};
  const auto number = [](const Json& value) {
    return value.is_null() ? std::string("-") : fmt::format("{:.4f}", value.get<double>());
  };
  const auto add = [&](const Json& report, const std::string& prefix,
                       const std::set<std::string>& only) {
    for (const auto& [key, value] : report.items()) {
      if (key == "rows" || key == "documents" || key.ends_with("_lo") || key.ends_with("_hi"))
        continue;
      if (!only.empty() && !only.contains(key)) continue;
      std::string interval;
      if (report.contains(key + "_lo"))
        interval = number(report.at(key + "_lo")) + " to " + number(report.at(key + "_hi"));
      table.rows.push_back({prefix + key, number(value), interval});
    }
  };
  add(inference, "", {});
  if (evaluation.contains("baselines"))
    for (const auto& [baseline, report] : evaluation.at("baselines").items())
      add(report, baseline + ": ", {"r2", "l0"});
  if (evaluation.contains("cross_entropy") && !evaluation.at("cross_entropy").is_null())
    add(evaluation.at("cross_entropy"), "", {});
  return table;
}

}  // namespace

std::string metrics_line(Session& session, const TrainedSae& sae, std::uint64_t visit) {
  const ChunkLog& log = sae.log;
  const auto steps = static_cast<double>(std::max<std::uint64_t>(1, log.steps));
  const MetricReport report =
      evaluate_rows(evaluated(sae), open_heldout(session), session.config().evaluate.seed,
                    session.config().evaluate.curve_rows);
  Json line{{"chunk", visit}, {"step", sae.state.step}, {"tokens", sae.state.trained_rows}};
  Json values = Json::parse(to_json(report));
  values.erase("rows");
  values.erase("documents");
  line.update(values);
  line["heldout_rows"] = report.rows;
  line["heldout_documents"] = report.documents;
  line["train"] = {{"loss", log.loss / steps},
                   {"mse_scaled", log.mse / steps},
                   {"aux_loss", log.aux_loss / steps},
                   {"l0", log.l0 / steps},
                   {"grad_norm", log.grad_norm / steps},
                   {"lr", log.lr},
                   {"dead", log.dead}};
  return line.dump();
}

void evaluate_run(Session& session, Ledger& ledger, const std::vector<TrainedSae>& saes) {
  const RunFolder& folder = session.folder();
  const std::string digest = analysis_digest(session, saes, "evaluate");
  if (up_to_date(ledger, "evaluate", digest,
                 files_of(saes, [&](const std::string& n) { return folder.evaluation(n); })))
    return;
  Progress progress("evaluate", saes.size(), "SAEs");
  std::vector<EvaluatedSae> all;
  for (const TrainedSae& sae : saes) all.push_back(evaluated(sae));
  for (const SaeEvaluation& evaluation :
       evaluate(session.config().evaluate, all, open_heldout(session), session.calibration(),
                session.model(), session.corpus())) {
    write_file(folder.evaluation(evaluation.name), to_json(evaluation) + "\n");
    progress.advance(1);
    say(fmt::format("{}: held-out R2 {:.3f}, L0 {:.1f}, dead {:.1f} %", evaluation.name,
                    evaluation.inference.of("r2").value, evaluation.inference.of("l0").value,
                    100 * evaluation.inference.of("dead_rate").value));
  }
  progress.finish();
  ledger.finished("evaluate", digest);
}

void probe_run(Session& session, Ledger& ledger, const std::vector<TrainedSae>& saes) {
  const RunFolder& folder = session.folder();
  const std::string digest = analysis_digest(session, saes, "probe");
  if (up_to_date(ledger, "probe", digest,
                 files_of(saes, [&](const std::string& n) { return folder.features(n); })))
    return;
  make_folder(folder.root / "features");
  ProbeSources sources{
      .shards = {}, .chunks = {}, .heldout = folder.heldout(), .seed = session.config().store.seed};
  for (const CorpusShard& shard : session.corpus().files()) sources.shards.push_back(shard.tokens);
  for (const auto& [chunk, record] : ledger.state().sealed)
    sources.chunks.push_back(folder.chunk(chunk));
  const ProbeCorpus corpus(std::move(sources), session.config().probe);
  std::map<std::tuple<std::string, double, std::size_t>, ReadableCount> neurons;
  for (const TrainedSae& sae : saes) {
    FeatureAtlas atlas = probe(corpus, target_of(evaluated(sae), sae.config.name));
    atlas.controls = count_controls(corpus, session, sae, neurons);
    write_features(folder.features(sae.config.name), atlas, weights_digest(sae.state.parameters));
    say(fmt::format("{}: {} of {} features can be read (frozen random {}, neurons {})",
                    sae.config.name, atlas.count.readable, atlas.count.features,
                    atlas.controls[0].readable, atlas.controls[1].readable));
  }
  ledger.finished("probe", digest);
}

void report_run(Session& session, Ledger& ledger, const std::vector<TrainedSae>& saes) {
  const RunFolder& folder = session.folder();
  const RunConfig& config = session.config();
  const fs::path file = folder.root / config.report.file;
  ReportInput input{.title = folder.root.filename().string(),
                    .header = {},
                    .saes = {},
                    .tables = {},
                    .history = {}};
  input.header = {
      {"model", model_display_name(config.model)},
      {"hook points", fmt::format("{}", fmt::join(config.hooks, ", "))},
      {"corpus",
       fmt::format("{} shards, {} distinct rows trained on, {} passes", session.corpus().shards(),
                   session.order().batches_per_pass() * config.train.batch_rows,
                   config.train.passes_per_chunk * config.train.corpus_passes)},
      {"contexts", fmt::format("{} tokens, {}", config.tokens.context, config.tokens.packing)},
      {"store", session.store_digest()}};
  for (const TrainedSae& sae : saes) {
    input.saes.push_back({.name = sae.config.name,
                          .hook = sae.config.hook,
                          .facts = facts_of(sae.config),
                          .features = folder.features(sae.config.name),
                          .metrics = folder.metrics(sae.config.name)});
    if (fs::exists(folder.evaluation(sae.config.name)))
      input.tables.push_back(evaluation_table(
          sae.config.name, Json::parse(read_file(folder.evaluation(sae.config.name)))));
  }
  ReportTable attempts{
      .title = "Attempts",
      .note = "",
      .columns = {"attempt", "job", "host", "ranks", "started", "ended", "outcome"},
      .rows = {}};
  for (const AttemptRecord& attempt : ledger.state().attempts)
    attempts.rows.push_back({std::to_string(attempt.attempt), attempt.job, attempt.host,
                             std::to_string(attempt.ranks), attempt.started, attempt.ended,
                             attempt.outcome.empty() ? "this one, or killed" : attempt.outcome});
  input.history = {attempts};
  write_report(file, input);
  ledger.finished("report", analysis_digest(session, saes, "report"));
}

}  // namespace refract
