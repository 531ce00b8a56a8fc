#include <fmt/format.h>

#include "refract/base/file.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/order/sample_order.hpp"
#include "refract/pipeline/disk_plan.hpp"
#include "refract/pipeline/pipeline.hpp"
#include "refract/pipeline/run_folder.hpp"
#include "refract/pipeline/schedule.hpp"

namespace refract {
namespace {

// Before anything is tokenized: compressed shards hold about this much text per byte, and a
// byte-level BPE takes about so many bytes per token (measured on the demo's shards).
constexpr double kTextPerCompressedByte = 3.2, kBytesPerToken = 4.4;

struct CorpusEstimate {
  std::uint64_t shards = 0, shard_bytes = 0, tokens = 0;
};

CorpusEstimate estimate_corpus(const RunConfig& config) {
  CorpusEstimate estimate;
  for (const ShardRef& shard : list_shards(config.source)) {
    ++estimate.shards;
    estimate.shard_bytes += shard.bytes;
    const fs::path extension = fs::path(shard.name).extension();
    const bool plain = extension == ".jsonl" || extension == ".ndjson";
    estimate.tokens += static_cast<std::uint64_t>(
        static_cast<double>(shard.bytes) * (plain ? 0.9 : kTextPerCompressedByte) / kBytesPerToken);
  }
  return estimate;
}

std::uint64_t memory_per_rank(const RunConfig& config, const ModelInfo& model, int ranks) {
  std::uint64_t bytes = model.parameter_bytes;
  const std::uint64_t chunk = config.store.chunk_rows * model.d_model * 4 * config.hooks.size();
  bytes += std::min(config.train.cache_bytes, chunk / static_cast<std::uint64_t>(ranks));
  for (const SaeConfig& sae : config.saes) bytes += (3 + 2) * 4 * 2 * sae.d_sae * model.d_model;
  bytes += config.train.batch_rows * model.d_model * 4 * 4;
  return bytes;
}

}  // namespace

std::string dry_run(const RunConfig& config, int ranks) {
  const ModelInfo model = read_model_info(model_folder(config));
  const CorpusEstimate corpus = estimate_corpus(config);
  const OrderRule rule = order_rule(config);
  const std::uint64_t wanted = wanted_rows(config);
  const auto trained =
      static_cast<std::uint64_t>(static_cast<double>(corpus.tokens) * (1 - config.heldout.share));
  const std::uint64_t rows = (wanted ? wanted : trained) / rule.batch_rows * rule.batch_rows;
  const std::uint64_t chunks = (rows + rule.chunk_rows - 1) / rule.chunk_rows;
  const std::uint64_t visits = chunks * config.train.corpus_passes;
  const std::uint64_t steps =
      rows / rule.batch_rows * config.train.passes_per_chunk * config.train.corpus_passes;
  const DiskPlan disk =
      plan_disk(config, model, corpus.shard_bytes + corpus.tokens * 16, chunks, visits);

  const RolePlan roles = plan_roles(config.pipeline, ranks, usable_cores());
  std::string text =
      fmt::format("Plan of {} for {} rank(s); nothing is written.\n\n", config.run, ranks);
  text += "Roles\n" + print_roles(roles);
  text += fmt::format("\nModel      {} ({} layers, d_model {}), weights {}\n",
                      model_display_name(config.model), model.layers, model.d_model,
                      human_bytes(model.parameter_bytes));
  text += fmt::format("Corpus     {} shards, {}; about {} tokens (estimated before tokenizing)\n",
                      corpus.shards, human_bytes(corpus.shard_bytes),
                      human_count(static_cast<double>(corpus.tokens)));
  text += fmt::format(
      "Rows       {}{} to train on in {} chunk(s) of {}; blocks of {} rows cost at most {} tokens "
      "each\n",
      wanted ? "" : "about ", rows, chunks, rule.chunk_rows, rule.block_rows,
      config.rows.take == "all" ? rule.block_rows + 2 * config.tokens.context
                                : rule.block_rows * config.tokens.context);
  text += fmt::format("Steps      {}{} of {} rows, for each of {} SAE(s)\n", wanted ? "" : "about ",
                      steps, rule.batch_rows, config.saes.size());
  const int extractors = static_cast<int>(roles.ranks_with(Role::extract).size());
  const int trainers = static_cast<int>(roles.ranks_with(Role::train).size());
  text += fmt::format(
      "Ranks      {} extract {} blocks of a chunk at most, {} train on {} slices of a batch at "
      "most\n",
      extractors, share_of(rule.blocks(), 0, extractors).count, trainers,
      share_of(rule.blocks(), 0, trainers).count);
  text += "\nDisk, at its peak\n";
  for (const auto& [name, bytes] : disk.classes)
    text += fmt::format("  {:<22} {:>12}\n", name, human_bytes(bytes));
  const std::uint64_t kept = std::min(disk.chunks_wanted, disk.chunks_allowed);
  text += fmt::format("  {:<22} {:>12}  ({} of {} chunks at a time)\n", "activation chunks",
                      human_bytes(kept * disk.chunk_bytes), kept, disk.chunks_wanted);
  text += fmt::format("  {:<22} {:>12}  (disk.max_bytes {})\n", "sum",
                      human_bytes(disk.fixed_bytes() + kept * disk.chunk_bytes),
                      human_bytes(config.disk.max_bytes.value));
  text += fmt::format("\nMemory     about {} per rank\n",
                      human_bytes(memory_per_rank(config, model, trainers)));
  check_disk(disk, config);
  return text;
}

}  // namespace refract
