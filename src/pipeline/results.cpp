#include "refract/pipeline/results.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "pipeline/finished_parts.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"
#include "refract/pipeline/deadline.hpp"
#include "refract/pipeline/identity.hpp"
#include "refract/stages/evaluate.hpp"
#include "refract/stages/probe.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

// What every analysis of this SAE depends on, one fact a line.
std::string inputs_of(const Session& session, const TrainedSae& sae) {
  const std::vector<SaeConfig>& saes = session.config().saes;
  const auto at = std::ranges::find(saes, sae.config.name, &SaeConfig::name);
  REFRACT_ASSERT(at != saes.end(), "SAE {}", sae.config.name);
  return fmt::format("store={}\nsae={}\nweights={}\n", session.store().digest(),
                     session.training_digest(static_cast<std::size_t>(at - saes.begin())),
                     weights_digest(sae));
}

Parents parents_of(const Session& session, const TrainedSae& sae) {
  return {{"store", session.store().digest()}, {"weights", weights_digest(sae)}};
}

// An SAE whose part is to be made, and what of.
struct Due {
  const TrainedSae* sae = nullptr;
  std::string inputs;
};

// Those whose part is not finished with `shared` (settings and rows, a fact a line) and what the
// SAE is.
std::vector<Due> due_of(const Session& session, const Ledger& ledger,
                        const std::vector<TrainedSae>& saes,
                        Part (*part_of)(const RunFolder&, const std::string&),
                        const std::string& shared) {
  std::vector<Due> due;
  for (const TrainedSae& sae : saes) {
    const std::string inputs = inputs_digest(shared + inputs_of(session, sae));
    if (!is_finished(ledger.state(), part_of(session.folder(), sae.config.name), inputs))
      due.push_back({&sae, inputs});
  }
  return due;
}

EvaluatedSae evaluated(const TrainedSae& sae) {
  return {.config = &sae.config,
          .variant = sae.variant.get(),
          .parameters = &sae.state.parameters,
          .input_scale = sae.input_scale};
}

ProbeTarget target_of(const EvaluatedSae& sae, const std::string& name, const std::string& task) {
  return {.name = name,
          .task = task,
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

ChunkReader open_heldout(Session& session) {
  return ChunkReader(session.folder().heldout(), {{"store", session.store().digest()}});
}

// L0 on the held-out rows: a feature's density there, summed over features.
double heldout_l0(const FeatureAtlas& atlas) {
  double sum = 0;
  for (const FeatureFacts& facts : atlas.features)
    sum += static_cast<double>(facts.density_heldout);
  return sum;
}

// Controls by (hook, scale, k): raw neurons are the same for all SAEs that share them.
using NeuronCounts = std::map<std::tuple<std::string, double, std::size_t>, ReadableCount>;

std::vector<ReadableCount> count_controls(const ProbeCorpus& corpus, Session& session,
                                          const TrainedSae& sae, const FeatureAtlas& atlas,
                                          NeuronCounts& neurons) {
  const HookCalibration& hook = session.store().calibration().of(sae.config.hook);
  const RandomControl random = random_control(evaluated(sae), hook, heldout_l0(atlas));
  const std::string task = "probe " + sae.config.name;
  std::vector<ReadableCount> counts{count_readable(
      corpus, target_of({&random.config, random.variant.get(), &random.parameters, sae.input_scale},
                        "frozen random", task + ", frozen random"))};
  const std::size_t k = std::min<std::size_t>(random.config.k, hook.d_in / 2);
  auto entry = neurons.find({sae.config.hook, sae.input_scale, k});
  if (entry == neurons.end())
    entry =
        neurons
            .emplace(std::tuple(sae.config.hook, sae.input_scale, k),
                     count_readable(
                         corpus, {.name = "neurons",
                                  .task = task + ", neurons",
                                  .hook = sae.config.hook,
                                  .features = hook.d_in,
                                  .input_scale = static_cast<float>(sae.input_scale),
                                  .encode = neuron_encoder(scaled(hook.mean, sae.input_scale), k),
                                  .parameters = nullptr}))
            .first;
  counts.push_back(entry->second);
  return counts;
}

ProbeSources probe_sources(Session& session) {
  ProbeSources sources{.shards = {},
                       .chunks = {session.folder().evidence()},
                       .heldout = session.folder().heldout(),
                       .parents = {{"store", session.store().digest()}},
                       .seed = session.config().store.seed};
  for (const CorpusShard& shard : session.corpus().tokens().files())
    sources.shards.push_back(shard.tokens);
  return sources;
}

std::string rows_probed(const ProbeSources& sources) {
  std::string text;
  for (const auto& path : sources.chunks)
    text += "rows=" + ChunkReader(path, sources.parents).content_digest() + "\n";
  return text;
}

// The features as a file that is only to be written. May be dropped at any moment.
TableWriter probed(const ProbeCorpus& corpus, Session& session, const TrainedSae& sae,
                   NeuronCounts& neurons) {
  FeatureAtlas atlas =
      probe(corpus, target_of(evaluated(sae), sae.config.name, "probe " + sae.config.name));
  atlas.controls = count_controls(corpus, session, sae, atlas, neurons);
  TableWriter table =
      features_table(session.folder().features(sae.config.name), atlas, parents_of(session, sae));
  say(fmt::format("{}: {} of {} features can be read (frozen random {}, neurons {})",
                  sae.config.name, atlas.count.readable, atlas.count.features,
                  atlas.controls[0].readable, atlas.controls[1].readable));
  return table;
}

// The SAEs of one stage, one after the other: tells how many are finished, and begins another only
// while as long as the one before took is left.
class OneByOne {
 public:
  OneByOne(std::uint64_t finished, const PartsDone& parts_done, bool& made)
      : finished_(finished), parts_done_(parts_done), made_(made) {
    if (parts_done_) parts_done_(finished_);
  }
  // doing: "probing big". work throws StopRequested, or leaves the SAE finished.
  template <typename Work>
  void run(const std::string& doing, const Work& work) {
    if (took_s_) stop_unless_left(*took_s_, doing);
    const double began_s = monotonic_s();
    work();
    took_s_ = monotonic_s() - began_s;
    made_ = true;
    if (parts_done_) parts_done_(++finished_);
  }

 private:
  std::uint64_t finished_;
  const PartsDone& parts_done_;
  bool& made_;
  std::optional<double> took_s_;  // the one before
};

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
  return line.dump();
}

}  // namespace

std::vector<std::string> collective_metrics_lines(Session& session,
                                                  const std::vector<TrainedSae>& saes,
                                                  std::uint64_t visit, Communicator& ranks) {
  const EvaluateConfig& config = session.config().evaluate;
  const ChunkReader heldout = open_heldout(session);
  std::vector<std::string> lines;
  for (const TrainedSae& sae : saes) {
    const MetricReport report =
        collective_evaluate_rows(evaluated(sae), heldout, config.seed, config.curve_rows, ranks);
    if (ranks.rank() == 0) lines.push_back(metrics_line(sae, report, visit));
  }
  return lines;
}

void evaluate_run(Session& session, Ledger& ledger, const std::vector<TrainedSae>& saes, bool& made,
                  const PartsDone& parts_done) {
  const RunFolder& folder = session.folder();
  const std::vector<Due> due =
      due_of(session, ledger, saes, evaluated_part, as_text(evaluate_settings(session.config())));
  OneByOne parts(saes.size() - due.size(), parts_done, made);
  if (due.empty()) return;
  const ChunkReader heldout = open_heldout(session);
  Evaluator evaluator(session.config().evaluate, heldout, session.store().calibration(),
                      session.run().model(), session.corpus().tokens());
  for (const Due& part : due)
    parts.run("evaluating " + part.sae->config.name, [&] {
      const SaeEvaluation evaluation = [&] {
        const Droppable droppable;
        stop_point();
        return evaluator.evaluate(evaluated(*part.sae));
      }();
      const std::string text = to_json(evaluation, parents_of(session, *part.sae)) + "\n";
      ledger.expect_own();
      write_file(folder.evaluation(evaluation.name), text);
      finish(ledger, evaluated_part(folder, evaluation.name), part.inputs, short_digest(text));
      say(fmt::format("{}: held-out R2 {:.3f}, L0 {:.1f}, dead {:.1f} %", evaluation.name,
                      evaluation.inference.of("r2").value, evaluation.inference.of("l0").value,
                      100 * evaluation.inference.of("dead_rate").value));
    });
}

void probe_run(Session& session, Ledger& ledger, const std::vector<TrainedSae>& saes, bool& made,
               const PartsDone& parts_done) {
  const RunFolder& folder = session.folder();
  const ProbeSources sources = probe_sources(session);
  const std::vector<Due> due =
      due_of(session, ledger, saes, probed_part,
             as_text(probe_settings(session.config())) + rows_probed(sources));
  OneByOne parts(saes.size() - due.size(), parts_done, made);
  if (due.empty()) return;
  make_folder(folder.root / "features");
  std::optional<ProbeCorpus> corpus;
  NeuronCounts neurons;
  for (const Due& part : due)
    parts.run("probing " + part.sae->config.name, [&] {
      TableWriter table = [&] {
        const Droppable droppable;
        stop_point();
        if (!corpus) corpus.emplace(sources, session.config().probe);
        return probed(*corpus, session, *part.sae, neurons);
      }();
      ledger.expect_own();
      const std::string content = write_features(std::move(table));
      finish(ledger, probed_part(folder, part.sae->config.name), part.inputs, content);
    });
}

}  // namespace refract
