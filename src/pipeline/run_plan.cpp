#include "refract/pipeline/run_plan.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "refract/base/error.hpp"
#include "refract/base/machine.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/pipeline/run_folder.hpp"

namespace refract {
namespace {

namespace fs = std::filesystem;

// Before anything is tokenized: compressed shards hold about this much text per byte, and a
// byte-level BPE takes about so many bytes per token (measured on the demo's shards).
constexpr double kTextPerCompressedByte = 3.2, kBytesPerToken = 4.4;
constexpr std::uint64_t kTokensPerDocument = 700;  // of English Wikipedia, about
constexpr std::uint64_t kStoredPerToken = 16;      // of a token shard and its context table

void estimate_corpus(RunPlan& plan) {
  for (const ShardRef& shard : plan.listed.shards) {
    ++plan.corpus.shards;
    plan.shard_bytes += shard.bytes;
    const fs::path extension = fs::path(shard.name).extension();
    const bool plain = extension == ".jsonl" || extension == ".ndjson";
    plan.corpus.tokens += static_cast<std::uint64_t>(
        static_cast<double>(shard.bytes) * (plain ? 0.9 : kTextPerCompressedByte) / kBytesPerToken);
  }
  plan.corpus.documents = plan.corpus.tokens / kTokensPerDocument;
}

TrainingPlan plan_training(const RunConfig& config, const RunPlan& plan) {
  const auto estimated = static_cast<std::uint64_t>(static_cast<double>(plan.corpus.tokens) *
                                                    (1 - config.heldout.share));
  std::optional<std::uint64_t> rows = plan.known.corpus_rows;
  if (!rows && wanted_rows(config) == 0) rows = estimated;
  return plan_training(config, order_rule(config), rows);
}

std::uint64_t difference(std::uint64_t whole, std::uint64_t part) {
  return whole > part ? whole - part : 0;
}

std::uint64_t fetched_bytes(const DownloadPlan& listed) {
  std::uint64_t bytes = 0;
  std::error_code ignored;
  for (const ShardRef& shard : listed.shards)
    if (!listed.folder.empty() && fs::exists(listed.folder / shard.name, ignored))
      bytes += shard.bytes;
  return bytes;
}

// The corpus lies under data_root, all else in the run's folder; what is there is not written
// again.
std::vector<Room> plan_rooms(const RunConfig& config, const RunPlan& plan) {
  const std::uint64_t corpus = plan.shard_bytes + plan.corpus.tokens * kStoredPerToken;
  const std::uint64_t kept = std::min(plan.disk.chunks_wanted, plan.disk.chunks_allowed);
  const std::uint64_t all = plan.disk.fixed_bytes() + kept * plan.disk.chunk_bytes;
  Room run{"the run", difference(difference(all, corpus), bytes_below(config.run)),
           room_at(config.run)};
  const Room data{"data_root",
                  plan.known.corpus_rows ? 0 : difference(corpus, fetched_bytes(plan.listed)),
                  room_at(config.data_root)};
  if (run.there.device != data.there.device) return {run, data};
  run.what += " and data_root";
  run.needed_bytes += data.needed_bytes;
  return {run};
}

}  // namespace

std::uint64_t RunPlan::node_bytes() const {
  return static_cast<std::uint64_t>(ranks_per_node) * rank.memory_bytes() + rank.root_bytes;
}

RunPlan plan_run(const RunConfig& config, int ranks, Asks asks, const JobShape& shape) {
  const std::uint64_t program_bytes = peak_memory_bytes();  // before anything was computed
  RunPlan plan;
  const int nodes = std::min(ranks, static_cast<int>(config.submit.nodes));
  plan.ranks = ranks;
  plan.ranks_per_node =
      shape.ranks_per_node > 0 ? shape.ranks_per_node : (ranks + nodes - 1) / nodes;
  plan.listed = plan_download(config.source, config.data_root, Digests::known);
  plan.known = check_before_start(config, plan.listed, asks);
  estimate_corpus(plan);
  plan.roles = plan_roles(config.pipeline, ranks, shape.cores > 0 ? shape.cores : usable_cores());
  if (asks == Asks::corpus) return plan;
  plan.training = plan_training(config, plan);
  plan.exact = wanted_rows(config) != 0 || plan.known.corpus_rows.has_value();
  plan.disk =
      plan_disk(config, plan.known.model, plan.shard_bytes + plan.corpus.tokens * kStoredPerToken,
                plan.training.chunks, plan.training.visits);
  plan.rank = plan_rank(config, plan.known.model, plan.corpus, plan.roles, program_bytes);
  plan.rates = rates_of(config, plan.ranks_per_node);
  plan.time = plan_time({.config = config,
                         .model = plan.known.model,
                         .plan = plan.training,
                         .corpus = plan.corpus,
                         .roles = plan.roles,
                         .ranks_per_node = plan.ranks_per_node},
                        plan.rates);
  plan.rooms = plan_rooms(config, plan);
  return plan;
}

void check_rooms(const RunPlan& plan) {
  for (const Room& room : plan.rooms)
    if (!room.suffices())
      throw SystemError(
          "{} are still to be written for {}, but its file system ({}) takes {} more{}. Free "
          "space there, lower disk.max_bytes, or choose another folder (--set run=..., --set "
          "data_root=...).",
          human_bytes(room.needed_bytes), room.what, room.there.kind,
          human_bytes(room.there.writable_bytes()),
          room.there.quota_left_bytes ? " of your quota" : "");
}

}  // namespace refract
