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
#include "refract/stages/normalised_hooks.hpp"
#include "refract/stages/probe.hpp"

namespace refract {
namespace {

ProbeTarget target_of(const EvaluatedSae& sae, const NormalisedHooks& input,
                      const std::string& name, const std::string& task) {
  return {.name = name,
          .task = task,
          .hook = hook_text(*sae.config),
          .input = input.parts,
          .features = sae.parameters->d_sae(),
          .encode = sae_encoder(*sae.variant, *sae.parameters),
          .parameters = sae.parameters};
}

// L0 on the held-out rows: a feature's density there, summed over features.
double heldout_l0(const FeatureAtlas& atlas) {
  double sum = 0;
  for (const FeatureFacts& facts : atlas.features)
    sum += static_cast<double>(facts.density_heldout);
  return sum;
}

// Controls by (hooks, normalize, k): raw neurons are the same for all SAEs that share them.
using NeuronCounts =
    std::map<std::tuple<std::vector<std::string>, std::string, std::size_t>, ReadableCount>;

std::vector<ReadableCount> count_controls(const ProbeCorpus& corpus, const TrainedSae& sae,
                                          const NormalisedHooks& input, const FeatureAtlas& atlas,
                                          NeuronCounts& neurons) {
  const RandomControl random = random_control(sae.config, active_components(heldout_l0(atlas)),
                                              input.width(), sae.target.geometric_median);
  const std::string task = "probe " + sae.config.name;
  std::vector<ReadableCount> counts{count_readable(
      corpus, target_of({&random.config, random.variant.get(), &random.parameters, sae.spaces()},
                        input, "frozen random", task + ", frozen random"))};
  const std::size_t k = std::min<std::size_t>(random.config.k, input.width() / 2);
  const std::tuple shared(sae.config.hooks, sae.config.normalize, k);
  auto entry = neurons.find(shared);
  if (entry == neurons.end())
    entry = neurons
                .emplace(shared, count_readable(corpus, {.name = "neurons",
                                                         .task = task + ", neurons",
                                                         .hook = hook_text(sae.config),
                                                         .input = input.parts,
                                                         .features = input.width(),
                                                         .encode = neuron_encoder(input.mean, k),
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
  const NormalisedHooks input = normalised_input(sae.config, session.store().calibration());
  FeatureAtlas atlas =
      probe(corpus, target_of(evaluated(sae), input, sae.config.name, "probe " + sae.config.name));
  atlas.controls = count_controls(corpus, sae, input, atlas, neurons);
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
