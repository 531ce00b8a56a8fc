#include <fmt/format.h>

#include <algorithm>

#include "pipeline/finished_parts.hpp"
#include "refract/base/activity.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/stop.hpp"
#include "refract/pipeline/identity.hpp"
#include "refract/pipeline/results.hpp"
#include "refract/pipeline/run_evaluation.hpp"
#include "refract/stages/report.hpp"

namespace refract {
namespace {

std::vector<std::pair<std::string, std::string>> facts_of(const SaeConfig& sae) {
  std::vector<std::pair<std::string, std::string>> facts{{"variant", sae.variant},
                                                         {"features", std::to_string(sae.d_sae)}};
  if (sae.k != 0) facts.emplace_back("k", std::to_string(sae.k));
  facts.emplace_back("seed", std::to_string(sae.seed));
  facts.emplace_back("hook", hook_text(sae));
  if (!sae.target_hook.empty()) facts.emplace_back("reconstructs", sae.target_hook);
  return facts;
}

// What evaluation found of one SAE: what to do about it, baselines, then every number.
void add_evaluation_tables(const std::string& name, const RunEvaluation& run, const Advice& advice,
                           std::vector<TextTable>& tables) {
  const auto add = [&](std::vector<TextTable> found, bool folded) {
    for (TextTable& table : found) {
      table.title = name + ": " + table.title;
      table.folded = folded;
      tables.push_back(std::move(table));
    }
  };
  add(evaluation_tables(run.text(name), run.family(name)), false);
  add(number_tables(run.text(name), advice, run.family(name)), true);
}

// Of the newest checkpoint that names the SAE; empty: none yet.
std::string newest_weights(const RunState& state, const std::string& sae) {
  for (auto record = state.checkpoints.rbegin(); record != state.checkpoints.rend(); ++record)
    if (const auto found = record->saes.find(sae); found != record->saes.end())
      return found->second.weights;
  return {};
}

// What there is of one SAE, and what there is not.
ReportSae reported_sae(const SaeConfig& sae, const RunFolder& folder, const RunState& state,
                       const RunEvaluation& evaluation, const Advice& advice,
                       std::vector<TextTable>& tables) {
  ReportSae out{.name = sae.name,
                .hook = hook_text(sae),
                .facts = facts_of(sae),
                .notes = {},
                .features = {},
                .metrics = folder.metrics(sae.name)};
  const std::string weights = newest_weights(state, sae.name);
  const auto expect_newest = [&](const std::string& found, std::string_view what) {
    if (found != weights)
      out.notes.push_back(fmt::format("{} an earlier checkpoint than the newest", what));
  };
  if (weights.empty()) out.notes.emplace_back("not trained yet");
  if (evaluation.has(sae.name)) {
    expect_newest(evaluation.weights(sae.name), "the evaluation is of");
    add_evaluation_tables(sae.name, evaluation, advice, tables);
  } else {
    out.notes.emplace_back("not evaluated yet");
  }
  if (fs::exists(folder.features(sae.name))) {
    out.features = folder.features(sae.name);
    const Parents parents = features_parents(out.features);
    const auto found = parents.find("weights");
    expect_newest(found == parents.end() ? "" : found->second, "the features are of");
  } else {
    out.notes.emplace_back("not probed yet");
  }
  return out;
}

std::string corpus_text(const RunConfig& config, const ReportFacts& facts) {
  return fmt::format("{} shards, {} distinct rows, {} passes", facts.shards, facts.rows,
                     config.train.passes_per_chunk * config.train.corpus_passes);
}

TextTable attempts_of(const RunState& state) {
  TextTable attempts{.title = "Attempts",
                     .note = "",
                     .columns = {"attempt", "job", "host", "ranks", "started", "ended", "outcome"},
                     .rows = {}};
  for (const AttemptRecord& attempt : state.attempts)
    attempts.rows.push_back({std::to_string(attempt.attempt), attempt.job, attempt.host,
                             std::to_string(attempt.ranks), attempt.started, attempt.ended,
                             attempt.outcome.empty() ? "this one, or killed" : attempt.outcome});
  return attempts;
}

std::string page_of(const RunConfig& config, const RunFolder& folder, const RunState& state,
                    const ReportFacts& facts) {
  ReportInput input{.title = folder.root.filename().string(),
                    .header = {{"model", folder.model_name()},
                               {"hook points", fmt::format("{}", fmt::join(config.hooks, ", "))},
                               {"corpus", corpus_text(config, facts)},
                               {"contexts", fmt::format("{} tokens, {}", config.tokens.context,
                                                        config.tokens.packing)},
                               {"store", facts.store}},
                    .saes = {},
                    .tables = {},
                    .history = {attempts_of(state)}};
  if (facts.visits_done < facts.visits || facts.visits == 0)
    input.header.emplace_back(
        "state", fmt::format("not finished: {} of {} chunks trained", facts.visits_done,
                             facts.visits == 0 ? "?" : std::to_string(facts.visits)));
  const RunEvaluation evaluation(config, folder);
  const Advice advice = Advice::load(config.evaluate.advice);
  for (const SaeConfig& sae : config.saes)
    input.saes.push_back(reported_sae(sae, folder, state, evaluation, advice, input.tables));
  for (TextTable& table : evaluation.statistics_tables()) {
    table.folded = true;
    input.tables.push_back(std::move(table));
  }
  return make_report(input);
}

}  // namespace

ReportFacts report_facts(const RunConfig& config, const RunState& state) {
  ReportFacts facts{.shards = state.shards,
                    .rows = 0,
                    .visits_done = state.visits_done(sae_names(config)),
                    .visits = state.visits,
                    .store = state.store};
  for (const auto& [chunk, record] : state.known)
    if (chunk < facts.visits_done) facts.rows += record.rows;
  return facts;
}

void report_run(const RunConfig& config, const RunFolder& folder, Ledger& ledger,
                const ReportFacts& facts) {
  working("report");
  const std::string page = [&] {
    const Droppable droppable;
    return page_of(config, folder, ledger.state(), facts);
  }();
  ledger.expect_own();
  write_file(folder.root / config.report.file, page);
  finish(ledger, reported_part(config, folder),
         inputs_digest(as_text(report_settings(config)) + "store=" + facts.store + "\n"),
         short_digest(page));
}

}  // namespace refract
