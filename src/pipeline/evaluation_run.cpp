#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "pipeline/due_parts.hpp"
#include "pipeline/exports.hpp"
#include "pipeline/one_by_one.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/comm/shared_stop.hpp"
#include "refract/pipeline/evidence.hpp"
#include "refract/pipeline/identity.hpp"
#include "refract/pipeline/results.hpp"
#include "refract/sae/fold.hpp"
#include "refract/sae/initialise.hpp"
#include "refract/stages/evaluate.hpp"
#include "refract/stages/evaluation_json.hpp"
#include "refract/stages/statistics.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

std::string metrics_line(const TrainedSae& sae, const MetricReport& report, std::uint64_t visit) {
  const VisitLog& log = sae.log;
  const auto steps = static_cast<double>(std::max<std::uint64_t>(1, log.steps));
  Json line{{"visit", visit}, {"step", sae.state.step}, {"tokens", sae.state.trained_rows}};
  Json values = Json::parse(to_json(report));
  values.erase("rows");
  values.erase("documents");
  line.update(values);
  line["heldout_rows"] = report.rows;
  line["heldout_documents"] = report.documents;
  line["train"] = {{"loss", log.loss / steps},
                   {"squared_error", log.squared_error / steps},
                   {"aux_loss", log.aux_loss / steps},
                   {"l0", log.l0 / steps},
                   {"grad_norm", log.grad_norm / steps},
                   {"lr", log.lr},
                   {"dead", log.dead}};
  if (sae.config.resample.every_steps != 0) line["train"]["resampled"] = log.resampled;
  return line.dump();
}

// An SAE in training as one rank would hold it: borrowed where it is held so, else gathered.
class WholeOnHost {
 public:
  [[nodiscard]] static WholeOnHost collective_make(TrainedSae& sae, StepRunner& runner) {
    WholeOnHost whole(sae);
    if (is_whole_on_host(sae)) return whole;
    SaeState gathered = runner.collective_whole(sae);
    whole.gathered_ = gathered.mean ? usable_mean(*gathered.mean) : std::move(gathered.parameters);
    return whole;
  }
  [[nodiscard]] EvaluatedSae evaluated() const {
    return {.config = &sae_.config,
            .variant = sae_.variant.get(),
            .parameters = gathered_ ? &*gathered_ : &sae_.used(),
            .spaces = sae_.spaces()};
  }

 private:
  explicit WholeOnHost(const TrainedSae& sae) : sae_(sae) {}
  const TrainedSae& sae_;
  std::optional<SaeParameters> gathered_;
};

// An SAE as every rank has it: rank 0's own, sent to the others.
class SharedSae {
 public:
  // own: null but on rank 0.
  SharedSae(const SaeConfig& config, const CalibrationData& calibration, const TrainedSae* own)
      : config_(config), own_(own) {
    if (own) return;
    const NormalisedHooks input = normalised_input(config_, calibration),
                          target = normalised_target(config_, calibration);
    variant_ = make_variant(config_, input.width(), 1);
    parameters_ = make_parameters(shape_of(config_, *variant_, {input.width(), target.width()}));
    parameters_.decoder = decoder_rule(config_);
    spaces_ = spaces_of(input, target);
  }
  void collective_send(Communicator& world) {
    if (world.size() == 1) return;
    for (const auto& [name, tensor] : named_tensors(own_ ? own_->used() : parameters_))
      world.broadcast(tensor.span(), 0);
  }
  [[nodiscard]] EvaluatedSae view() const {
    if (own_) return evaluated(*own_);
    return {&config_, variant_.get(), &parameters_, spaces_};
  }

 private:
  SaeConfig config_;
  const TrainedSae* own_;
  std::unique_ptr<Variant> variant_;
  SaeParameters parameters_;
  SaeSpaces spaces_;
};

TrainingCounts training_counts(const Session& session, const TrainedSae& sae) {
  const std::uint64_t after =
      dead_threshold(session.config().store.chunk_rows, session.plan().rows);
  return {static_cast<std::uint64_t>(std::ranges::count_if(
              sae.state.age.span(), [&](std::uint64_t age) { return age >= after; })),
          after};
}

// What rank 0 lists, on every rank.
std::vector<std::string> collective_list(std::vector<std::string> list, Communicator& world) {
  std::string text = Json(list).dump();
  world.broadcast_string(text, 0);
  return Json::parse(text).get<std::vector<std::string>>();
}

// Kept checkpoints before the newest, which is what is evaluated: at most as many as drift is
// measured against, spread evenly. Rank 0.
std::vector<fs::path> earlier_checkpoints(const Session& session, const RunState& state,
                                          const std::string& sae) {
  std::vector<fs::path> kept;
  for (const CheckpointRecord& record : state.checkpoints_of({sae})) {
    const fs::path folder = session.folder().checkpoints(sae) / record.folder;
    if (record.complete && fs::exists(folder / kExportFiles[1])) kept.push_back(folder);
  }
  if (!kept.empty()) kept.pop_back();
  const std::size_t count = std::min(kDriftCheckpoints, kept.size());
  std::vector<fs::path> spread;
  for (std::size_t i = 0; i < count; ++i) spread.push_back(kept[(i + 1) * kept.size() / count - 1]);
  return spread;
}

std::vector<DriftSince> collective_drift_of(const Session& session, const Ledger* ledger,
                                            const EvaluatedSae& sae, SharedStop& stop,
                                            Communicator& world) {
  std::vector<std::string> earlier;
  if (ledger)
    for (const fs::path& folder : earlier_checkpoints(session, ledger->state(), sae.config->name))
      earlier.push_back(folder.string());
  earlier = collective_list(std::move(earlier), world);
  const std::vector<fs::path> folders(earlier.begin(), earlier.end());
  SaeExport now = sae.variant->export_for_saelens(*sae.parameters);
  fold(now, *sae.spaces.input, *sae.spaces.target);
  const std::vector<CheckpointDrift> drift =
      collective_drift(fmt::format("SAE '{}'", sae.config->name), now, folders, stop, world);
  std::vector<DriftSince> out;
  for (std::size_t i = 0; i < folders.size(); ++i)
    out.push_back({folders[i].filename().string(), drift[i]});
  return out;
}

std::string verdict_line(const SaeEvaluation& evaluation) {
  std::string red, watch;
  for (const Verdict& verdict : evaluation.verdicts) {
    const bool is_red =
        verdict.state == VerdictState::too_high || verdict.state == VerdictState::too_low;
    std::string& list = is_red ? red : watch;
    if (!is_red && verdict.state != VerdictState::watch) continue;
    list += (list.empty() ? "" : ", ") + verdict.metric;
    if (is_red) list += verdict.state == VerdictState::too_high ? " too high" : " too low";
  }
  if (red.empty() && watch.empty()) return "all good";
  return fmt::format("{}{}{}", red, !red.empty() && !watch.empty() ? "; " : "",
                     watch.empty() ? "" : "watch " + watch);
}

// statistics/<hook>.json of those hooks that have none, or one of other rows.
void collective_measure_activations(Session& session, Ledger* ledger, SharedStop& stop,
                                    Communicator& world, bool& made) {
  const RunFolder& folder = session.folder();
  const std::string inputs = inputs_digest(as_text(statistics_settings(session.config())) +
                                           fmt::format("store={}\n", session.store().digest()));
  std::vector<std::string> hooks;
  if (ledger)
    for (const std::string& hook : session.config().hooks)
      if (!is_finished(ledger->state(), statistics_part(folder, hook), inputs))
        hooks.push_back(hook);
  hooks = collective_list(std::move(hooks), world);
  if (hooks.empty()) return;
  const std::vector<TokenClass> classes = token_classes(session.run().tokenizer());
  const ChunkReader heldout = session.store().open_heldout();
  for (const std::string& hook : hooks) {
    const ActivationStatistics statistics =
        collective_activation_statistics(heldout, session.store().calibration().of(hook), classes,
                                         session.config().evaluate.statistics_rows, stop, world);
    if (!ledger) continue;
    const std::string text = to_json(statistics, session.store().parents()) + "\n";
    ledger->expect_own();
    make_folder(folder.statistics(hook).parent_path());
    write_file(folder.statistics(hook), text);
    finish(*ledger, statistics_part(folder, hook), inputs, short_digest(text));
    made = true;
  }
}

bool needs_evidence(const EvaluateConfig& config) {
  return std::ranges::any_of(config.baselines, [](const std::string& name) {
    return std::ranges::find(baseline_table(), name, &BaselineRow::name)->needs_rows;
  });
}

}  // namespace

std::vector<std::string> collective_metrics_lines(Session& session, std::vector<TrainedSae>& saes,
                                                  std::uint64_t visit, StepRunner& runner) {
  const EvaluateConfig& config = session.config().evaluate;
  const ChunkReader heldout = session.store().open_heldout();
  std::vector<std::string> lines;
  Communicator& ranks = runner.mesh().ranks();
  for (TrainedSae& sae : saes) {
    const WholeOnHost whole = WholeOnHost::collective_make(sae, runner);
    const MetricReport report = collective_evaluate_rows(
        whole.evaluated(), heldout, session.store().calibration().of(only_target_hook(sae.config)),
        config.seed, config.curve_rows, ranks);
    if (ranks.rank() == 0) lines.push_back(metrics_line(sae, report, visit));
  }
  return lines;
}

void collective_evaluate_run(Session& session, Ledger* ledger, const std::vector<TrainedSae>& saes,
                             bool has_model, Communicator& world, bool& made,
                             const PartsDone& parts_done) {
  const RunFolder& folder = session.folder();
  const EvaluateConfig& config = session.config().evaluate;
  const bool root = ledger != nullptr;
  session.store().open();
  SharedStop stop(world);
  const bool evidence = needs_evidence(config);
  if (evidence)
    stop.collective([&] {
      if (root) made |= complete_evidence(session, ledger->state().sealed);
    });

  if (config.statistics) collective_measure_activations(session, ledger, stop, world, made);

  std::optional<Advice> advice;
  std::vector<DuePart> due;
  std::vector<std::string> due_names;
  if (root) {
    advice = Advice::load(config.advice);
    due = due_parts(session, *ledger, saes, evaluated_part,
                    as_text(evaluate_settings(session.config())) + "advice=" + advice->digest() +
                        "\n" + (evidence ? rows_kept(session) : ""));
    for (const DuePart& part : due) due_names.push_back(part.sae->config.name);
  }
  due_names = collective_list(std::move(due_names), world);
  std::optional<OneByOne> parts;
  if (root) parts.emplace(saes.size() - due.size(), parts_done, made);
  if (due_names.empty()) return;

  const ChunkReader heldout = session.store().open_heldout();
  std::optional<ChunkReader> training;
  if (evidence) training.emplace(folder.evidence(), session.store().parents());
  Evaluator evaluator(config,
                      {.heldout = heldout,
                       .evidence = training ? &*training : nullptr,
                       .calibration = session.store().calibration(),
                       .model = config.ce && has_model ? &session.run().model() : nullptr,
                       .corpus = session.corpus().tokens()},
                      stop, world);
  for (std::size_t i = 0; i < due_names.size(); ++i) {
    const SaeConfig& sae =
        *std::ranges::find(session.config().saes, due_names[i], &SaeConfig::name);
    stop.collective([&] {
      if (parts) parts->begin("evaluating " + sae.name);
    });
    SharedSae shared(sae, session.store().calibration(), root ? due[i].sae : nullptr);
    shared.collective_send(world);
    SaeEvaluation evaluation = evaluator.collective_evaluate(shared.view());
    evaluation.drift = collective_drift_of(session, ledger, shared.view(), stop, world);
    if (!root) continue;
    evaluation.training = training_counts(session, *due[i].sae);
    evaluation.verdicts = verdicts_of(evaluation, *advice);
    const std::string text = to_json(evaluation, analysis_parents(session, *due[i].sae)) + "\n";
    ledger->expect_own();
    write_file(folder.evaluation(sae.name), text);
    finish(*ledger, evaluated_part(folder, sae.name), due[i].inputs, short_digest(text));
    parts->end();
    say(fmt::format("{}: held-out R2 {:.3f}, L0 {:.1f}, dead {:.1f} %; {}", sae.name,
                    evaluation.inference.of("r2").value, evaluation.inference.of("l0").value,
                    100 * evaluation.inference.of("dead_rate").value, verdict_line(evaluation)));
  }
}

}  // namespace refract
