#include "refract/pipeline/rank_plan.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "refract/base/dtype.hpp"
#include "refract/pipeline/disk_plan.hpp"
#include "refract/pipeline/training_layout.hpp"
#include "refract/sae/normaliser.hpp"
#include "refract/sae/variant.hpp"
#include "refract/stages/block_rows.hpp"
#include "refract/stages/heldout_rows.hpp"

namespace refract {
namespace {

constexpr std::uint64_t kOpenFileBytes = 64 << 10;  // of a table: its header and a descriptor
constexpr std::uint64_t kForwardValues = 16;        // of a token in a layer, in units of d_model

// The part of something in the corpus that the largest window has.
std::uint64_t in_window(const RunConfig& config, const CorpusSize& corpus, std::uint64_t all) {
  const std::uint64_t shards = std::max<std::uint64_t>(1, corpus.shards);
  return all * std::min<std::uint64_t>(shards, config.tokens.window_shards) / shards;
}

std::uint64_t window_contexts(const RunConfig& config, const CorpusSize& corpus) {
  return in_window(config, corpus, corpus.tokens / config.tokens.context);
}

std::uint64_t rows_times_d(const RunConfig& config, const ModelInfo& model, std::uint64_t rows) {
  return rows * model.d_model * sizeof(float) * config.hooks.size();
}

void add_extraction(const RunConfig& config, const ModelInfo& model, const CorpusSize& corpus,
                    std::uint64_t ranks, RankPlan& plan) {
  const std::uint64_t d = model.d_model, contexts = window_contexts(config, corpus);
  const std::uint64_t held_out = static_cast<std::uint64_t>(
      config.heldout.share * static_cast<double>(in_window(config, corpus, corpus.documents)));
  plan.memory.emplace_back("model", model.parameter_bytes);
  plan.memory.emplace_back("a block of rows, and a call of the model",
                           2 * rows_times_d(config, model, config.store.block_rows) +
                               kForwardTokens * d * kForwardValues * sizeof(float));
  const std::uint64_t sample = std::min(config.calibration.rows, corpus.tokens);
  plan.memory.emplace_back("calibration: its share of the rows, the draw from a window",
                           rows_times_d(config, model, sample / ranks) + 8 * sample +
                               d * d * sizeof(double) / ranks + 4 * contexts);
  plan.memory.emplace_back("calibration: covariance and whitening of each hook",
                           2 * d * d * sizeof(double) * config.hooks.size());
  plan.memory.emplace_back("plan of the held-out rows", 8 * config.heldout.rows + 24 * held_out);
}

// What a tile holds of one SAE: weights of its features, moments and gradients of those that it
// owns, the buffers of a step (sae/step.hpp).
std::uint64_t step_bytes_of(const RunConfig& config, const ModelInfo& model, const SaeConfig& sae,
                            const TrainingLayout& layout) {
  const auto variant = make_variant(sae, input_width(sae, model), 1);
  const std::uint64_t columns = layout.mesh.features, rows = layout.mesh.rows,
                      batch = config.train.batch_rows, slices = order_rule(config).blocks(),
                      slice = order_rule(config).slice_rows();
  const bool sharded = layout.exchange == "sharded",
             ordered = config.train.reduction == "ordered" && rows > 1;
  const FeatureRange tile = features_of_part({0, sae.d_sae}, 0, columns);
  const std::uint64_t own = sharded ? features_of_part(tile, 0, rows).count : tile.count;
  const SaeShape shape{tile.count, input_width(sae, model), target_width(sae, model),
                       variant->has_threshold(), variant->is_gated()};
  const std::uint64_t per_feature = 4 * (shape.d_in + shape.d_out + 1 + kFurther);
  const std::uint64_t n = (slices + rows - 1) / rows * slice;
  std::uint64_t bytes = tile.count * (per_feature + 8) + 2 * own * per_feature;
  if (sae.ema > 0) bytes += 2 * tile.count * per_feature;  // the mean, and what is used of it
  bytes += step_bytes(variant->shape(), shape,
                      {.rows = n,
                       .batch_rows = batch,
                       .slice_rows = slice,
                       .tiles_of_row = columns,
                       .dictionary = sae.d_sae,
                       .gathers_rows = ordered,
                       .gradient_features = own},
                      input_is_centred(sae));
  if (ordered)  // every rank's rows and errors
    bytes += 4 * batch * (shape.d_in + variant->shape().errors() * shape.d_out);
  return bytes;
}

// Of what all SAEs read and reconstruct, each once.
std::uint64_t normalising_bytes(const RunConfig& config, const ModelInfo& model,
                                std::uint64_t rows) {
  std::set<std::pair<std::string, std::string>> pairs;
  for (const SaeConfig& sae : config.saes)
    for (const std::vector<std::string>& hooks : {sae.hooks, target_hooks(sae)})
      for (const std::string& hook : hooks) pairs.emplace(hook, sae.normalize);
  std::uint64_t bytes = 0;
  for (const auto& [hook, normalize] : pairs)
    bytes += normaliser_bytes(normalize, model.d_model, rows, {});
  return bytes;
}

void add_training(const RunConfig& config, const ModelInfo& model, std::uint64_t ranks,
                  RankPlan& plan) {
  const TrainingLayout layout = training_layout(config, model, static_cast<int>(ranks));
  const std::uint64_t readers = ranks / layout.groups;
  const std::uint64_t stored = byte_size(dtype_from_name(config.store.dtype)), d = model.d_model;
  plan.memory.emplace_back(
      "its rows of a chunk, as stored",
      std::min(config.train.cache_bytes,
               config.store.chunk_rows / readers * d * stored * config.hooks.size()));
  std::uint64_t most = 0, most_sent = 0;
  for (const std::vector<std::size_t>& group : saes_of_groups(config, layout.groups)) {
    std::uint64_t bytes = 0, sent = 0;
    for (const std::size_t i : group) {
      const SaeConfig& sae = config.saes[i];
      bytes += step_bytes_of(config, model, sae, layout);
      // ordered: every rank's rows, their errors and active features go to all.
      const std::uint64_t active = sae.k > 0 ? largest_k(sae) : sae.d_sae;
      sent += config.train.batch_rows *
              ((input_width(sae, model) + target_width(sae, model)) * sizeof(float) + active * 8);
    }
    most = std::max(most, bytes);
    most_sent = std::max(most_sent, sent);
  }
  plan.memory.emplace_back("SAEs: weights, moments, gradients, buffers of a step", most);
  plan.memory.emplace_back("a batch of each input", config.train.batch_rows / layout.mesh.rows * d *
                                                        sizeof(float) * config.hooks.size());
  if (const std::uint64_t bytes =
          normalising_bytes(config, model, config.train.batch_rows / layout.mesh.rows))
    plan.memory.emplace_back("what normalises a batch", bytes);
  const std::uint64_t steps =
      config.store.chunk_rows / config.train.batch_rows * config.train.passes_per_chunk;
  std::uint64_t sent = layout_cost(config, model, layout).sent_bytes;
  if (config.train.reduction == "ordered") sent = sent / 2 + most_sent / ranks * (ranks - 1);
  plan.sent_bytes = steps * sent;
}

// The sums of the held-out documents (metrics/document_sums.hpp): a rank's own of all that is
// measured together, and twice the whole of one; copies of the SAE and of a random one; fits
// (stages/baselines.hpp); tiles of the statistics.
std::uint64_t evaluation_of(const RunConfig& config, const ModelInfo& model,
                            const CorpusSize& corpus, std::uint64_t ranks) {
  constexpr std::uint64_t kOfFeature = 16, kOfDimension = 32, kTiles = std::uint64_t{1} << 30,
                          kGuessedL0 = 100;
  const EvaluateConfig& evaluate = config.evaluate;
  const std::uint64_t d = model.d_model, rows = config.heldout.rows;
  const std::uint64_t rows_of_document =
      config.rows.take == "all" && corpus.documents > 0
          ? std::max<std::uint64_t>(1, corpus.tokens / corpus.documents)
          : 1;
  const std::uint64_t units =
      std::min<std::uint64_t>(HeldoutRows::kMostUnits, 1 + rows / rows_of_document);
  std::uint64_t most = 0;
  for (const SaeConfig& sae : config.saes) {
    const std::uint64_t active = sae.k > 0 ? sae.k : kGuessedL0;
    const std::uint64_t table = units * target_width(sae, model) * kOfDimension +
                                std::min(rows * active, units * sae.d_sae) * kOfFeature;
    const std::uint64_t tables = 2 * table + evaluate.baselines.size() * table / ranks;
    most = std::max(most, tables + 3 * 4 * sae_parameters(sae, model));
  }
  const auto asked = [&](const char* name) {
    return std::ranges::find(evaluate.baselines, name) != evaluate.baselines.end();
  };
  const std::uint64_t copies = asked("split_nmf") ? 7 : asked("ica") || asked("semi_nmf") ? 4 : 0;
  const std::uint64_t fits = copies * evaluate.baseline_rows * d * sizeof(float);
  const std::uint64_t statistics =
      evaluate.statistics ? std::min(kTiles, 14 * d * d * sizeof(double)) + 24 * d * d : 0;
  return std::max(most + fits, statistics);
}

}  // namespace

std::uint64_t RankPlan::memory_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [what, bytes] : memory) sum += bytes;
  return std::max(sum, evaluation_bytes);
}

RankPlan plan_rank(const RunConfig& config, const ModelInfo& model, const CorpusSize& corpus,
                   const RolePlan& roles, std::uint64_t program_bytes) {
  RankPlan plan;
  const std::uint64_t files =
      std::min<std::uint64_t>(corpus.shards, 2 * config.tokens.window_shards);
  plan.memory.emplace_back("program and libraries", program_bytes);
  plan.memory.emplace_back("headers of the corpus' files", 3 * files * kOpenFileBytes);
  if (const std::size_t ranks = roles.ranks_with(Role::extract).size(); ranks > 0)
    add_extraction(config, model, corpus, ranks, plan);
  if (const std::size_t ranks = roles.ranks_with(Role::train).size(); ranks > 0)
    add_training(config, model, ranks, plan);
  std::uint64_t weights = 0;  // with their moments, on ranks that trained
  for (const SaeConfig& sae : config.saes)
    weights += (parameter_bytes(sae) + (sae.ema > 0 ? 4 : 0)) * sae_parameters(sae, model);
  plan.evaluation_bytes =
      program_bytes + model.parameter_bytes + weights +
      evaluation_of(config, model, corpus, std::max<std::uint64_t>(1, roles.roles.size()));
  // A window's order while it is made (a draw, two columns, the rows of its contexts); the keys of
  // all documents, twice while two runs of them become one.
  // What whitens a hook: its eigenvectors, and twice as much to find them.
  plan.root_bytes = 24 * window_contexts(config, corpus) + 16 * corpus.documents +
                    3 * model.d_model * model.d_model * sizeof(double);
  constexpr std::uint64_t kStateFiles = 2, kExportFiles = 3;
  plan.files = 1 + config.saes.size() * (kStateFiles + kExportFiles);
  return plan;
}

}  // namespace refract
