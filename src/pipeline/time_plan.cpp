#include "refract/pipeline/time_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/ops/gemm.hpp"
#include "refract/pipeline/disk_plan.hpp"

namespace refract {
namespace {

// Parts of the rate of a large product that the stages reach, and what a core tokenizes
// (docs/performance.md).
constexpr double kForwardShare = 0.7, kStepShare = 0.6, kEncodeShare = 0.7;
constexpr double kTextBytesPerS = 50e6, kTextBytesPerToken = 4.4;
constexpr double kMeasuredFeaturesPerS = 1500;  // of a core: probing, sorting a feature's windows
constexpr double kGiga = 1e9;

// Products of the size of a TopK step's, until they have taken long enough.
double measured_flop_per_s(int threads) {
  constexpr std::size_t kRows = 1024, kColumns = 1024, kInner = 512;
  constexpr double kLongEnough_s = 0.2, kFlopOfATerm = 2;
  Stream stream;
  Tensor<float> x(Shape{kRows, kInner}), W(Shape{kColumns, kInner}), y(Shape{kRows, kColumns});
  std::ranges::fill(x.span(), 1.0F);
  std::ranges::fill(W.span(), 1.0F);
  const int before = thread_count();
  set_thread_count(threads);
  const PackedMatrix packed(W.cview(), {}, stream);
  gemm_nt(x.cview(), packed, y.view(), 0, stream);  // the first call is not like the others
  const double began_s = monotonic_s();
  double flop = 0, seconds = 0;
  while (seconds < kLongEnough_s) {
    gemm_nt(x.cview(), packed, y.view(), 0, stream);
    flop += kFlopOfATerm * kRows * kColumns * kInner;
    seconds = monotonic_s() - began_s;
  }
  set_thread_count(before);
  return flop / seconds;
}

// Of the blocks up to the last hook, or all of them and the unembedding. In a block a multiply and
// an add for each parameter, and for half the context's keys two products of the heads' width.
double forward_flop_per_token(const ModelInfo& model, std::size_t blocks, std::size_t context,
                              bool unembeds) {
  const auto d = static_cast<double>(model.d_model);
  const double block =
      2 * static_cast<double>(model.block_parameters) +
      2 * static_cast<double>(model.attention_width) * static_cast<double>(context);
  return static_cast<double>(blocks) * block +
         (unembeds ? 2 * d * static_cast<double>(model.vocab) : 0);
}

std::size_t blocks_run(const RunConfig& config, const ModelInfo& model) {
  int last = 0;
  for (const std::string& hook : config.hooks) last = std::max(last, parse_hook_point(hook).layer);
  return std::min(model.layers, static_cast<std::size_t>(last) + 1);
}

double encode_flop_per_row(const SaeConfig& sae, const ModelInfo& model) {
  return 2 * static_cast<double>(input_width(sae, model)) * static_cast<double>(sae.d_sae);
}
// reference: topk does all but the encoder sparsely, 2dn + 8dk: the gradient of W_enc is as wide as
// the input, decoding and the gradients of W_dec and of the activations as the target. Else 12dn.
double step_flop_per_row(const SaeConfig& sae, const ModelInfo& model) {
  const auto d_in = static_cast<double>(input_width(sae, model)),
             d_out = static_cast<double>(target_width(sae, model));
  return sae.k > 0
             ? encode_flop_per_row(sae, model) + 2 * (d_in + 3 * d_out) * static_cast<double>(sae.k)
             : 6 * (d_in + d_out) * static_cast<double>(sae.d_sae);
}

// Tokens through the model for a row. A context that two blocks share is run once where both are
// one rank's (stages/block_rows.hpp).
double tokens_per_row(const RunConfig& config, const TrainingPlan& plan, const CorpusSize& corpus) {
  if (config.rows.take == "all" || plan.rows == 0) return 1;
  return std::max(1.0, static_cast<double>(corpus.tokens) / static_cast<double>(plan.rows));
}

double ranks_with(const RolePlan& roles, Role role) {
  return static_cast<double>(std::max<std::size_t>(1, roles.ranks_with(role).size()));
}

StageTime tokenize_time(const TimedRun& run, const Rates& rates) {
  const double bytes = static_cast<double>(run.corpus.tokens) * kTextBytesPerToken;
  // A shard is one rank's.
  const double ranks = std::min(ranks_with(run.roles, Role::tokenize),
                                static_cast<double>(std::max<std::uint64_t>(1, run.corpus.shards)));
  return {"tokenize", human_bytes(static_cast<std::uint64_t>(bytes)) + " of text",
          bytes / (rates.text_bytes_per_s * ranks)};
}

double extract_s(const TimedRun& run, const Rates& rates, double rows) {
  const double flop = rows * tokens_per_row(run.config, run.plan, run.corpus) *
                      forward_flop_per_token(run.model, blocks_run(run.config, run.model),
                                             run.config.tokens.context, false);
  return flop / (rates.flop_per_s * kForwardShare * ranks_with(run.roles, Role::extract));
}

double train_s(const TimedRun& run, const Rates& rates, double row_visits) {
  double flop = 0;
  for (const SaeConfig& sae : run.config.saes) flop += step_flop_per_row(sae, run.model);
  return row_visits * flop / (rates.flop_per_s * kStepShare * ranks_with(run.roles, Role::train));
}

double checkpoint_s(const TimedRun& run, const Rates& rates) {
  std::uint64_t bytes = 0;
  for (const SaeConfig& sae : run.config.saes)
    bytes += trainer_state_bytes(sae, run.model) + 2 * sae_parameters(sae, run.model);
  return static_cast<double>(bytes) / rates.write_bytes_per_s;
}

// What ICA and the two of NMF take at most (stages/baselines.hpp), once for each hook.
double fit_flop(const EvaluateConfig& evaluate, double d) {
  const std::map<std::string_view, double> of_row{
      {"ica", 200 * 4 * d * d}, {"semi_nmf", 100 * 10 * d * d}, {"split_nmf", 100 * 14 * d * d}};
  double flop = 0;
  for (const std::string& name : evaluate.baselines)
    if (const auto found = of_row.find(name); found != of_row.end())
      flop += found->second * static_cast<double>(evaluate.baseline_rows);
  return flop;
}

// All ranks; of the model, those that extract. The clean model and two ablations once; with each
// SAE, and with a random one. The held-out rows through each SAE, a random one and the baselines;
// the cosines of all pairs of features twice; the statistics.
StageTime evaluate_time(const TimedRun& run, const Rates& rates) {
  const RunConfig& config = run.config;
  const EvaluateConfig& evaluate = config.evaluate;
  const auto d = static_cast<double>(run.model.d_model),
             rows = static_cast<double>(config.heldout.rows),
             hooks = static_cast<double>(config.hooks.size()),
             ranks = static_cast<double>(run.roles.roles.size());
  const bool random = std::ranges::count(evaluate.baselines, "random") != 0;
  const double passes =
      evaluate.ce ? 3 * hooks + (random ? 2 : 1) * static_cast<double>(config.saes.size()) : 0;
  const double forward =
      passes * static_cast<double>(evaluate.ce_tokens) *
      forward_flop_per_token(run.model, run.model.layers, config.tokens.context, true);
  double encode = hooks * fit_flop(evaluate, d);
  if (evaluate.statistics) encode += hooks * 4 * rows * d * d;
  for (const SaeConfig& sae : config.saes) {
    const auto n = static_cast<double>(sae.d_sae);
    encode += rows * ((random ? 2 : 1) * encode_flop_per_row(sae, run.model) +
                      4 * d * d * static_cast<double>(evaluate.baselines.size())) +
              2 * n * n * static_cast<double>(target_width(sae, run.model));
  }
  return {"evaluate", fmt::format("{} SAE(s) on the held-out rows", config.saes.size()),
          forward / (rates.flop_per_s * kForwardShare * ranks_with(run.roles, Role::extract)) +
              encode / (rates.flop_per_s * kEncodeShare * ranks)};
}

StageTime probe_time(const TimedRun& run, const Rates& rates, int threads) {
  const RunConfig& config = run.config;
  const double rows =
      static_cast<double>(std::min(config.probe.tokens, run.plan.rows) + config.heldout.rows);
  double encode = 0, features = 0;
  for (const SaeConfig& sae : config.saes) {
    encode += 2 * rows * encode_flop_per_row(sae, run.model);  // and a random one
    features += 2 * static_cast<double>(sae.d_sae);
  }
  return {"probe", human_count(features / 2) + " features",
          encode / (rates.flop_per_s * kEncodeShare * run.ranks_per_node) +
              features / (kMeasuredFeaturesPerS * threads * run.ranks_per_node)};
}

}  // namespace

Rates rates_of(const RunConfig& config, int ranks_per_node) {
  const double cores = usable_cores(), ranks = ranks_per_node;
  const double wanted =
      config.submit.cpus_per_rank > 0 ? config.submit.cpus_per_rank : cores / ranks;
  const int threads = std::clamp(static_cast<int>(wanted), 1, usable_cores());
  const double given = config.submit.gflops * kGiga;
  Rates rates;
  rates.flop_per_s = given > 0 ? given : measured_flop_per_s(threads) * wanted / threads;
  rates.write_bytes_per_s = static_cast<double>(config.submit.write_bytes_per_s.value);
  rates.text_bytes_per_s = kTextBytesPerS * wanted;
  rates.origin = fmt::format(
      "{:.3g} GFLOP/s of a rank in fp32 products ({}), {} a second to the disk "
      "(submit.write_bytes_per_s)",
      rates.flop_per_s / kGiga,
      given > 0 ? std::string("submit.gflops")
                : fmt::format("measured here, {:.2g} core(s) a rank", wanted),
      human_bytes(config.submit.write_bytes_per_s.value));
  return rates;
}

TimePlan plan_time(const TimedRun& run, const Rates& rates) {
  const auto rows = static_cast<double>(run.plan.rows);
  const double visits_rows = rows * static_cast<double>(run.config.train.passes_per_chunk) *
                             static_cast<double>(run.config.train.corpus_passes);
  const auto before = static_cast<double>(run.config.heldout.rows + run.config.calibration.rows);
  const int threads = std::max(1, usable_cores() / std::max(1, run.ranks_per_node));
  TimePlan plan;
  plan.stages = {
      tokenize_time(run, rates),
      {"extract", fmt::format("{} rows", human_count(rows + before)),
       extract_s(run, rates, rows + before)},
      {"train", fmt::format("{} rows, {} SAE(s)", human_count(visits_rows), run.config.saes.size()),
       train_s(run, rates, visits_rows)},
      evaluate_time(run, rates),
      probe_time(run, rates, threads)};
  const auto chunk_rows = static_cast<double>(std::min(run.plan.rows, run.config.store.chunk_rows));
  plan.chunk_train_s =
      train_s(run, rates, chunk_rows * static_cast<double>(run.config.train.passes_per_chunk));
  const double extracted = extract_s(run, rates, chunk_rows);
  plan.chunk_s =
      run.roles.split ? std::max(extracted, plan.chunk_train_s) : extracted + plan.chunk_train_s;
  plan.checkpoint_s = checkpoint_s(run, rates);
  double longest = 0, sum = 0;
  for (const StageTime& stage : plan.stages) {
    sum += stage.seconds;
    longest = std::max(longest, stage.seconds);
  }
  const double analysis = plan.stages[3].seconds + plan.stages[4].seconds;
  plan.total_s = run.roles.split ? std::max(longest, analysis) + analysis : sum;
  return plan;
}

ChunkProposal propose_chunk(const RunConfig& config, double chunk_s, double walltime_s) {
  constexpr double kMostOfIt = 1.0 / 3;
  ChunkProposal proposal{config.store.chunk_rows, config.store.block_rows};
  // Halves of both keep the number of blocks, and so the slices of a batch, as long as a block
  // still has whole slices.
  const std::uint64_t slice_rows =
      config.train.batch_rows / (config.store.chunk_rows / config.store.block_rows);
  double seconds = chunk_s;
  while (seconds > kMostOfIt * walltime_s) {
    if (proposal.block_rows % 2 != 0 || proposal.block_rows / 2 % slice_rows != 0) return {};
    proposal.chunk_rows /= 2;
    proposal.block_rows /= 2;
    seconds /= 2;
  }
  return proposal;
}

}  // namespace refract
