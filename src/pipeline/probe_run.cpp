#include "refract/pipeline/results.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "pipeline/due_parts.hpp"
#include "pipeline/one_by_one.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"
#include "refract/pipeline/identity.hpp"
#include "refract/stages/baselines.hpp"
#include "refract/stages/probe.hpp"

namespace refract {
namespace {

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

// The features as a file that is only to be written. May be dropped at any moment.
TableWriter probed(const ProbeCorpus& corpus, Session& session, const TrainedSae& sae,
                   NeuronCounts& neurons) {
  FeatureAtlas atlas =
      probe(corpus, target_of(evaluated(sae), sae.config.name, "probe " + sae.config.name));
  atlas.controls = count_controls(corpus, session, sae, atlas, neurons);
  TableWriter table = features_table(session.folder().features(sae.config.name), atlas,
                                     analysis_parents(session, sae));
  say(fmt::format("{}: {} of {} features can be read (frozen random {}, neurons {})",
                  sae.config.name, atlas.count.readable, atlas.count.features,
                  atlas.controls[0].readable, atlas.controls[1].readable));
  return table;
}

}  // namespace

void probe_run(Session& session, Ledger& ledger, const std::vector<TrainedSae>& saes, bool& made,
               const PartsDone& parts_done) {
  const RunFolder& folder = session.folder();
  const ProbeSources sources = probe_sources(session);
  const std::vector<DuePart> due =
      due_parts(session, ledger, saes, probed_part,
                as_text(probe_settings(session.config())) + rows_kept(session));
  OneByOne parts(saes.size() - due.size(), parts_done, made);
  if (due.empty()) return;
  make_folder(folder.root / "features");
  std::optional<ProbeCorpus> corpus;
  NeuronCounts neurons;
  for (const DuePart& part : due) {
    parts.begin("probing " + part.sae->config.name);
    TableWriter table = [&] {
      const Droppable droppable;
      stop_point();
      if (!corpus) corpus.emplace(sources, session.config().probe);
      return probed(*corpus, session, *part.sae, neurons);
    }();
    ledger.expect_own();
    const std::string content = write_features(std::move(table));
    finish(ledger, probed_part(folder, part.sae->config.name), part.inputs, content);
    parts.end();
  }
}

}  // namespace refract
