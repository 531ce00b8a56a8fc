#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "refract/base/file.hpp"
#include "refract/base/machine.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/order/sample_order.hpp"
#include "refract/pipeline/disk_plan.hpp"
#include "refract/pipeline/pipeline.hpp"
#include "refract/pipeline/preflight.hpp"
#include "refract/pipeline/rank_plan.hpp"
#include "refract/pipeline/run_folder.hpp"
#include "refract/pipeline/schedule.hpp"
#include "refract/pipeline/training_plan.hpp"

namespace refract {
namespace {

// Before anything is tokenized: compressed shards hold about this much text per byte, and a
// byte-level BPE takes about so many bytes per token (measured on the demo's shards).
constexpr double kTextPerCompressedByte = 3.2, kBytesPerToken = 4.4;
constexpr std::uint64_t kTokensPerDocument = 700;  // of English Wikipedia, about
// Assumed where the plan says how long training waits for checkpoints; printed with it. Nothing is
// computed from them.
constexpr double kWriteBytesPerS = 200e6, kFlopPerS = 50e9;

struct CorpusEstimate {
  std::uint64_t shards = 0, shard_bytes = 0, tokens = 0;
};

CorpusEstimate estimate_corpus(const DownloadPlan& corpus) {
  CorpusEstimate estimate;
  for (const ShardRef& shard : corpus.shards) {
    ++estimate.shards;
    estimate.shard_bytes += shard.bytes;
    const fs::path extension = fs::path(shard.name).extension();
    const bool plain = extension == ".jsonl" || extension == ".ndjson";
    estimate.tokens += static_cast<std::uint64_t>(
        static_cast<double>(shard.bytes) * (plain ? 0.9 : kTextPerCompressedByte) / kBytesPerToken);
  }
  return estimate;
}

// Of one row through one step: reference/performance.md; topk does all but the encoder sparsely.
double flop_per_row(const SaeConfig& sae, const ModelInfo& model) {
  const auto d = static_cast<double>(model.d_model), n = static_cast<double>(sae.d_sae);
  return sae.k > 0 ? 2 * d * n + 8 * d * static_cast<double>(sae.k) : 12 * d * n;
}

// Exact where the rows are known.
TrainingPlan plan_training(const RunConfig& config, const KnownBefore& known,
                           const CorpusEstimate& corpus) {
  const auto estimated =
      static_cast<std::uint64_t>(static_cast<double>(corpus.tokens) * (1 - config.heldout.share));
  std::optional<std::uint64_t> rows = known.corpus_rows;
  if (!rows && wanted_rows(config) == 0) rows = estimated;
  return plan_training(config, order_rule(config), rows);
}
bool is_exact(const RunConfig& config, const KnownBefore& known) {
  return wanted_rows(config) != 0 || known.corpus_rows.has_value();
}

std::string corpus_lines(const RunConfig& config, const KnownBefore& known,
                         const CorpusEstimate& corpus) {
  return fmt::format(
      "\nModel      {} ({} layers, d_model {}), weights {}\n"
      "Corpus     {} shards, {}; {}\n",
      model_display_name(config.model), known.model.layers, known.model.d_model,
      human_bytes(known.model.parameter_bytes), corpus.shards, human_bytes(corpus.shard_bytes),
      known.corpus_rows ? fmt::format("tokenized: {} rows to train on", *known.corpus_rows)
                        : fmt::format("about {} tokens (estimated before tokenizing)",
                                      human_count(static_cast<double>(corpus.tokens))));
}

std::string training_lines(const RunConfig& config, const TrainingPlan& plan, bool exact,
                           const RolePlan& roles) {
  const OrderRule rule = order_rule(config);
  const char* about = exact ? "" : "about ";
  const int extractors = static_cast<int>(roles.ranks_with(Role::extract).size());
  const int trainers = static_cast<int>(roles.ranks_with(Role::train).size());
  return fmt::format(
             "Rows       {}{} to train on in {} chunk(s) of {}; blocks of {} rows cost at most {} "
             "tokens each\n",
             about, plan.rows, plan.chunks, rule.chunk_rows, rule.block_rows,
             config.rows.take == "all" ? rule.block_rows + 2 * config.tokens.context
                                       : rule.block_rows * config.tokens.context) +
         fmt::format("Steps      {}{} of {} rows, for each of {} SAE(s)\n", about, plan.steps,
                     rule.batch_rows, config.saes.size()) +
         fmt::format(
             "Ranks      {} extract {} blocks of a chunk at most, {} train on {} slices of a batch "
             "at most\n",
             extractors, share_of(rule.blocks(), 0, extractors).count, trainers,
             share_of(rule.blocks(), 0, trainers).count);
}

// Age counts rows of a first pass only, so it grows to the number of distinct rows at most.
std::string dead_line(const RunConfig& config, const TrainingPlan& plan) {
  const std::uint64_t threshold = dead_threshold(config.store.chunk_rows, plan.rows);
  const std::string after =
      fmt::format("Dead       a feature that has not fired for {} rows counts as dead", threshold);
  if (threshold < plan.rows) return after + "; the first can be after that many\n";
  return after + fmt::format(
                     ", which {} rows never reach: no feature will, and AuxK never acts (train on "
                     "more than 2 chunks: raise train.tokens or lower store.chunk_rows)\n",
                     plan.rows);
}

// Blocks are scaled with the chunk, so that a batch keeps its slices. With fewer than three chunks
// no feature would ever count as dead.
std::string chunk_proposal(const RunConfig& config, const TrainingPlan& plan, double wait_s,
                           double steps_s) {
  constexpr std::uint64_t kFewestChunks = 3;
  std::uint64_t factor = 1;
  while (wait_s > steps_s * static_cast<double>(factor) &&
         config.store.chunk_rows * factor * 2 * kFewestChunks <= plan.rows)
    factor *= 2;
  if (factor == 1)
    return "           less than that: training waits; larger chunks would be fewer than three\n";
  return fmt::format(
      "           less than that: training waits. store.chunk_rows {} with store.block_rows {} "
      "would "
      "wait less\n",
      config.store.chunk_rows * factor, config.store.block_rows * factor);
}

std::string checkpoint_lines(const RunConfig& config, const TrainingPlan& plan,
                             const ModelInfo& model, int trainers) {
  std::uint64_t bytes = 0;
  double flop = 0;
  for (const SaeConfig& sae : config.saes) {
    bytes += trainer_state_bytes(sae, model) + 2 * sae_parameters(sae, model);
    flop += flop_per_row(sae, model);
  }
  const auto rows = static_cast<double>(std::min(plan.rows, config.store.chunk_rows) *
                                        config.train.passes_per_chunk);
  const double wait_s = static_cast<double>(bytes) / kWriteBytesPerS,
               steps_s = flop * rows / (kFlopPerS * trainers);
  std::string text = fmt::format(
      "Checkpoint {} after each chunk, on disk after {:.2g} s (assuming {} a second) while the "
      "next "
      "chunk's steps take {:.2g} s (assuming {:.0f} GFLOP/s a rank)\n",
      human_bytes(bytes), wait_s, human_bytes(static_cast<std::uint64_t>(kWriteBytesPerS)), steps_s,
      kFlopPerS / 1e9);
  if (wait_s > steps_s) text += chunk_proposal(config, plan, wait_s, steps_s);
  return text;
}

std::string disk_lines(const RunConfig& config, const DiskPlan& disk) {
  std::string text = "\nDisk, at its peak\n";
  for (const auto& [name, bytes] : disk.classes)
    text += fmt::format("  {:<22} {:>12}\n", name, human_bytes(bytes));
  const std::uint64_t kept = std::min(disk.chunks_wanted, disk.chunks_allowed);
  text += fmt::format("  {:<22} {:>12}  ({} of {} chunks at a time)\n", "activation chunks",
                      human_bytes(kept * disk.chunk_bytes), kept, disk.chunks_wanted);
  text += fmt::format("  {:<22} {:>12}  (disk.max_bytes {})\n", "sum",
                      human_bytes(disk.fixed_bytes() + kept * disk.chunk_bytes),
                      human_bytes(config.disk.max_bytes.value));
  return text;
}

std::string rank_lines(const RankPlan& plan, int trainers) {
  std::string text = "\nMemory, of the rank that holds most\n";
  for (const auto& [what, bytes] : plan.memory)
    text += fmt::format("  {:<58} {:>12}\n", what, human_bytes(bytes));
  text += fmt::format("  {:<58} {:>12}  (rank 0: {} more for windows and duplicates)\n", "at most",
                      human_bytes(plan.memory_bytes()), human_bytes(plan.root_bytes));
  if (trainers > 1)
    text += fmt::format("Wire       {} sent by each training rank for a chunk\n",
                        human_bytes(plan.sent_bytes));
  return text +
         fmt::format("Files      {} for a chunk and its checkpoints, before checkpoint.keep\n",
                     plan.files);
}

}  // namespace

std::string dry_run(const RunConfig& config, int ranks, Asks asks) {
  const std::uint64_t program_bytes = peak_memory_bytes();  // before anything was computed
  const DownloadPlan listed = plan_download(config.source, config.data_root, Digests::known);
  const KnownBefore known = check_before_start(config, listed, asks);
  const CorpusEstimate corpus = estimate_corpus(listed);
  const RolePlan roles = plan_roles(config.pipeline, ranks, usable_cores());
  std::string text =
      fmt::format("Plan of {} for {} rank(s); nothing is written.\n\n", config.run, ranks);
  text += "Roles\n" + print_roles(roles) + corpus_lines(config, known, corpus);
  if (asks == Asks::corpus) return text;

  const TrainingPlan plan = plan_training(config, known, corpus);
  const int trainers = static_cast<int>(roles.ranks_with(Role::train).size());
  const DiskPlan disk = plan_disk(config, known.model, corpus.shard_bytes + corpus.tokens * 16,
                                  plan.chunks, plan.visits);
  text += training_lines(config, plan, is_exact(config, known), roles) + dead_line(config, plan);
  text += checkpoint_lines(config, plan, known.model, trainers) + disk_lines(config, disk);
  text += rank_lines(plan_rank(config, known.model,
                               {corpus.shards, corpus.tokens, corpus.tokens / kTokensPerDocument},
                               roles, program_bytes),
                     trainers);
  check_disk(disk, config);
  return text;
}

}  // namespace refract
