#include <fmt/format.h>

#include <algorithm>

#include "pipeline/recipes.hpp"
#include "refract/base/progress.hpp"
#include "refract/order/sample_order.hpp"
#include "refract/pipeline/pipeline.hpp"
#include "refract/pipeline/run_folder.hpp"
#include "refract/pipeline/run_plan.hpp"
#include "refract/pipeline/training_layout.hpp"

namespace refract {
namespace {

std::string corpus_lines(const RunConfig& config, const RunPlan& plan) {
  const KnownBefore& known = plan.known;
  return fmt::format(
      "\nModel      {} ({} layers, d_model {}), weights {}\n"
      "Corpus     {} shards, {}; {}\n",
      model_display_name(config.model), known.model.layers, known.model.d_model,
      human_bytes(known.model.parameter_bytes), plan.corpus.shards, human_bytes(plan.shard_bytes),
      known.corpus_rows ? fmt::format("tokenized: {} rows to train on", *known.corpus_rows)
                        : fmt::format("about {} tokens (estimated before tokenizing)",
                                      human_count(static_cast<double>(plan.corpus.tokens))));
}

std::string recipe_line(const std::string& recipe) {
  if (recipe == "none") return "";
  return fmt::format("Recipe     {}: settings of {}, where train and saes give none\n", recipe,
                     recipe_source(recipe));
}

std::string training_lines(const RunConfig& config, const RunPlan& plan) {
  const OrderRule rule = order_rule(config);
  const char* about = plan.exact ? "" : "about ";
  const int extractors = static_cast<int>(plan.roles.ranks_with(Role::extract).size());
  const int trainers = static_cast<int>(plan.roles.ranks_with(Role::train).size());
  return fmt::format(
             "Rows       {}{} to train on in {} chunk(s) of {}; blocks of {} rows cost at most {} "
             "tokens each\n",
             about, plan.training.rows, plan.training.chunks, rule.chunk_rows, rule.block_rows,
             config.rows.take == "all" ? rule.block_rows + 2 * config.tokens.context
                                       : rule.block_rows * config.tokens.context) +
         fmt::format("Steps      {}{} of {} rows, for each of {} SAE(s)\n", about,
                     plan.training.steps, rule.batch_rows, config.saes.size()) +
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

std::string checkpoint_lines(const RunConfig& config, const RunPlan& plan) {
  std::uint64_t bytes = 0;
  for (const SaeConfig& sae : config.saes)
    bytes += trainer_state_bytes(sae, plan.known.model) + 2 * sae_parameters(sae, plan.known.model);
  const double wait_s = plan.time.checkpoint_s, steps_s = plan.time.chunk_train_s;
  std::string text = fmt::format(
      "Checkpoint {} after each chunk, on disk after {:.2g} s while the next chunk's steps take "
      "{:.2g} s\n",
      human_bytes(bytes), wait_s, steps_s);
  if (wait_s > steps_s) text += chunk_proposal(config, plan.training, wait_s, steps_s);
  return text;
}

std::string time_lines(const TimePlan& time, const Rates& rates) {
  std::string text = "\nTime, predicted\n";
  for (const StageTime& stage : time.stages)
    text += fmt::format("  {:<10} {:<38} {:>12}\n", stage.stage, stage.work,
                        human_seconds(stage.seconds));
  return text + fmt::format("  {:<10} {:<38} {:>12}\n", "all", "", human_seconds(time.total_s)) +
         fmt::format("  a chunk takes {}; with {}\n", human_seconds(time.chunk_s), rates.origin);
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

std::string room_lines(const std::vector<Room>& rooms) {
  std::string text;
  for (const Room& room : rooms)
    text += fmt::format("  {:<22} {:>12}  (still to be written for {}: {}{})\n",
                        fmt::format("takes more: {}{}", room.there.kind,
                                    room.there.quota_left_bytes ? ", quota" : ""),
                        human_bytes(room.there.writable_bytes()), room.what,
                        human_bytes(room.needed_bytes),
                        room.suffices() ? "" : "; NOT ENOUGH: free space, lower disk.max_bytes");
  return text;
}

std::string layout_lines(const RunConfig& config, const RunPlan& plan, int ranks) {
  const std::vector<LayoutCost> weighed = layouts_weighed(config, plan.known.model, ranks);
  std::string text = fmt::format(
      "Training   {}{}; {} sent by each rank for a chunk\n", describe(weighed.front().layout),
      config.train.mesh == "auto" ? ", chosen by bytes" : "", human_bytes(plan.rank.sent_bytes));
  text += "           a step, of the rank with most:      sends   weights, moments, gradients\n";
  for (const LayoutCost& cost : weighed)
    text += fmt::format("           {:<34} {:>10}   {:>10}\n",
                        fmt::format("{} x {} {}", cost.layout.mesh.rows, cost.layout.mesh.features,
                                    cost.layout.exchange),
                        human_bytes(cost.sent_bytes), human_bytes(cost.weight_bytes));
  return text;
}

std::string rank_lines(const RunConfig& config, const RunPlan& plan) {
  std::string text = "\nMemory, of the rank that holds most\n";
  for (const auto& [what, bytes] : plan.rank.memory)
    text += fmt::format("  {:<58} {:>12}\n", what, human_bytes(bytes));
  text += fmt::format("  {:<58} {:>12}\n", "while SAEs are evaluated, instead of all these",
                      human_bytes(plan.rank.evaluation_bytes));
  text += fmt::format("  {:<58} {:>12}  (rank 0: {} more for windows and duplicates)\n", "at most",
                      human_bytes(plan.rank.memory_bytes()), human_bytes(plan.rank.root_bytes));
  text += fmt::format("  {:<58} {:>12}\n",
                      fmt::format("a node of {} rank(s), at most", plan.ranks_per_node),
                      human_bytes(plan.node_bytes()));
  if (const std::size_t ranks = plan.roles.ranks_with(Role::train).size(); ranks > 1)
    text += layout_lines(config, plan, static_cast<int>(ranks));
  return text +
         fmt::format("Files      {} for a chunk and its checkpoints, before checkpoint.keep\n",
                     plan.rank.files);
}

}  // namespace

std::string dry_run(const RunConfig& config, int ranks, Asks asks) {
  const RunPlan plan = plan_run(config, ranks, asks);
  std::string text =
      fmt::format("Plan of {} for {} rank(s); nothing is written.\n\n", config.run, ranks);
  text += "Roles\n" + print_roles(plan.roles) + corpus_lines(config, plan);
  if (asks == Asks::corpus) return text;
  text += recipe_line(config.train.recipe) + training_lines(config, plan) +
          dead_line(config, plan.training);
  text += checkpoint_lines(config, plan) + time_lines(plan.time, plan.rates);
  text += disk_lines(config, plan.disk) + room_lines(plan.rooms) + rank_lines(config, plan);
  check_disk(plan.disk, config);
  return text;
}

}  // namespace refract
