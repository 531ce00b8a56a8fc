#include "refract/pipeline/rank_plan.hpp"

#include <algorithm>

#include "refract/pipeline/disk_plan.hpp"
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
  plan.memory.emplace_back("plan of the held-out rows", 8 * config.heldout.rows + 24 * held_out);
}

void add_training(const RunConfig& config, const ModelInfo& model, std::uint64_t ranks,
                  RankPlan& plan) {
  plan.memory.emplace_back("its rows of a chunk",
                           std::min(config.train.cache_bytes,
                                    rows_times_d(config, model, config.store.chunk_rows / ranks)));
  std::uint64_t saes = 0;
  constexpr std::uint64_t kCopies =
      3 + 2;  // weights, two moments; gradients, of the rank and of all
  for (const SaeConfig& sae : config.saes) saes += kCopies * 4 * sae_parameters(sae, model);
  plan.memory.emplace_back("SAEs: weights, moments, gradients", saes);
  const bool ordered = config.train.reduction == "ordered";  // then a rank sees the whole batch
  plan.memory.emplace_back(
      "a batch, and what a step makes of it",
      4 * rows_times_d(config, model, config.train.batch_rows / (ordered ? 1 : ranks)));
  const std::uint64_t steps =
      config.store.chunk_rows / config.train.batch_rows * config.train.passes_per_chunk;
  for (const SaeConfig& sae : config.saes) {
    const std::uint64_t weights = 4 * sae_parameters(sae, model);
    // ordered: every rank's rows, their errors and active features go to all; then gradients or
    // weights. fast: sums to the owners, then the same.
    const std::uint64_t active = sae.k > 0 ? sae.k : sae.d_sae;
    const std::uint64_t rows =
        config.train.batch_rows *
        ((input_width(sae, model) + target_width(sae, model)) * sizeof(float) + active * 12);
    const std::uint64_t step = ordered ? rows + weights : 2 * weights;
    plan.sent_bytes += steps * step / ranks * (ranks - 1);
  }
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
  for (const SaeConfig& sae : config.saes) weights += 3 * 4 * sae_parameters(sae, model);
  plan.evaluation_bytes =
      program_bytes + model.parameter_bytes + weights +
      evaluation_of(config, model, corpus, std::max<std::uint64_t>(1, roles.roles.size()));
  // A window's order while it is made (a draw, two columns, the rows of its contexts); the keys of
  // all documents, twice while two runs of them become one.
  plan.root_bytes = 24 * window_contexts(config, corpus) + 16 * corpus.documents;
  constexpr std::uint64_t kStateFiles = 2, kExportFiles = 3;
  plan.files = 1 + config.saes.size() * (kStateFiles + kExportFiles);
  return plan;
}

}  // namespace refract
