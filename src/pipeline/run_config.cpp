#include "refract/pipeline/run_config.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <set>

#include "pipeline/recipes.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/numbers.hpp"
#include "refract/lm/hook_point.hpp"
#include "refract/pipeline/training_layout.hpp"
#include "refract/sae/normaliser.hpp"

namespace refract {
namespace {

// Bounds of the format rather than of a machine: products of two such numbers and a few bytes still
// fit 64 bits.
constexpr double kMostFeatures = 1 << 30, kMostRows = 0x1p40, kMostTogether = 0xFFFFFFFFp0,
                 kMostPasses = 1e6, kMostTokens = 1e15, kMostSeeds = 1000;
constexpr std::size_t kLongestName = 100;

}  // namespace

// One description per struct; found by argument-dependent lookup, so not in an anonymous namespace.

void describe(Fields& f, SourceConfig& c) {
  f.field(
      "from", c.from,
      {.help =
           "<kind>:<place>; file:<path or glob> of JSON-lines shards (plain, gz, zst, bz2, xz)"});
  f.field("drop_sections", c.cleaning.drop_sections, {.help = "sections left out, by name"});
  f.field("min_chars", c.cleaning.min_chars,
          {.help = "shorter documents are dropped", .unit = "characters"});
  f.field("project", c.cleaning.project, {.help = "project of records that name none"});
  f.field("max_shards", c.max_shards, {.help = "use only the first shards; 0 = all"});
}

void describe(Fields& f, TokensConfig& c) {
  f.field(
      "context", c.context,
      {.help = "tokens of one model input", .unit = "tokens", .at_least = 2, .at_most = 1 << 20});
  f.field("packing", c.packing,
          {.help = "how documents share a context", .allowed = {"packed", "concat", "document"}});
  f.field("bos", c.bos,
          {.help = "where BOS stands", .allowed = {"document_start", "each_context", "none"}});
  f.field("window_shards", c.window_shards,
          {.help = "shards whose contexts are permuted together", .at_least = 1});
  f.field("keep_text", c.keep_text,
          {.help = "keep the cleaned text in token shards (probe needs it)"});
}

void describe(Fields& f, RowsConfig& c) {
  f.field("take", c.take,
          {.help = "tokens that become rows: all | last | {nth_last: n} | middle | {random: n}"});
  f.field("sink_ratio", c.sink_ratio,
          {.help = "a row with a norm above this multiple of the median is a sink", .at_least = 1});
}

void describe(Fields& f, CalibrationConfig& c) {
  f.field("rows", c.rows,
          {.help = "rows measured before chunk 0, at most",
           .unit = "rows",
           .at_least = 1,
           .at_most = kMostRows});
  f.field(
      "max_tokens", c.max_tokens,
      {.help = "tokens run through the model for it, at most", .unit = "tokens", .at_least = 1});
}

void describe(Fields& f, HeldoutConfig& c) {
  f.field("share", c.share,
          {.help = "share of documents never trained on", .at_least = 0.0001, .at_most = 0.9});
  f.field(
      "rows", c.rows,
      {.help = "rows of heldout.h5, at most", .unit = "rows", .at_least = 1, .at_most = kMostRows});
  f.field(
      "max_tokens", c.max_tokens,
      {.help = "tokens run through the model for it, at most", .unit = "tokens", .at_least = 1});
}

void describe(Fields& f, ExtractConfig& c) {
  f.field("dtype", c.dtype,
          {.help = "of the forward pass", .allowed = {"fp32"}, .not_built = {"bf16", "fp16"}});
}

void describe(Fields& f, StoreConfig& c) {
  f.field("mode", c.mode,
          {.help = "ring: trained chunks are evicted when disk.max_bytes asks for it | keep",
           .allowed = {"ring", "keep"},
           .not_built = {"memory"}});
  f.not_built("path", "a store elsewhere, shared by runs");
  f.field("dtype", c.dtype,
          {.help = "of stored activations", .allowed = {"bf16", "fp32"}, .not_built = {"int8"}});
  f.field("chunk_rows", c.chunk_rows,
          {.help = "rows of a chunk: the unit of shuffle, checkpoint and eviction",
           .unit = "rows",
           .at_least = 1,
           .at_most = kMostRows});
  f.field("block_rows", c.block_rows,
          {.help = "rows computed by one rank at a time",
           .unit = "rows",
           .at_least = 1,
           .at_most = kMostTogether});
  f.field("seed", c.seed, {.help = "of the order of contexts and rows"});
}

void describe(Fields& f, DiskConfig& c) {
  f.field("max_bytes", c.max_bytes,
          {.help = "bound on everything a run keeps, all classes together"});
}

void describe(Fields& f, OptimizerConfig& c) {
  f.field("lr", c.lr, {.help = "Adam's learning rate", .at_least = 0});
  f.field("warmup", c.warmup,
          {.help = "share of all steps with rising rate; above 1: so many steps", .at_least = 0});
  f.field("decay", c.decay,
          {.help = "share of all steps, at the end, with falling rate; above 1: so many steps",
           .at_least = 0});
  std::string schedule = c.cosine ? "cosine" : "linear";
  f.field("schedule", schedule,
          {.help = "how the rate falls: linear | cosine, along half a period",
           .allowed = {"linear", "cosine"}});
  c.cosine = schedule == "cosine";
  f.field("floor", c.floor, {.help = "share of lr that it falls to", .at_least = 0, .at_most = 1});
  f.field("beta1", c.beta1, {.help = "Adam", .at_least = 0, .at_most = 1});
  f.field("beta2", c.beta2, {.help = "Adam", .at_least = 0, .at_most = 1});
  f.field("epsilon", c.epsilon, {.help = "Adam", .at_least = 0});
}

void describe(Fields& f, TrainConfig& c) {
  f.field("recipe", c.recipe,
          {.help = "known settings, where train and saes give none; --print-config shows them",
           .allowed = recipe_names()});
  f.field("tokens", c.tokens,
          {.help = "distinct rows to train on: all, or a number", .unit = "rows"});
  f.field("passes_per_chunk", c.passes_per_chunk,
          {.help = "passes over a chunk before the next", .at_least = 1, .at_most = kMostPasses});
  f.field("corpus_passes", c.corpus_passes,
          {.help = "passes over all chunks; more than 1 needs store.mode keep",
           .at_least = 1,
           .at_most = kMostPasses});
  f.field("batch_rows", c.batch_rows,
          {.help = "rows of the global batch",
           .unit = "rows",
           .at_least = 1,
           .at_most = kMostTogether});
  f.field("data_seed", c.data_seed, {.help = "of the order of batches, for all SAEs"});
  f.field("dtype", c.dtype,
          {.help = "of the encoder's products in training; bf16 needs AVX-512-BF16",
           .allowed = {"fp32", "bf16"}});
  f.field("mesh", c.mesh,
          {.help = "ranks as {rows: R, features: C}: rows of the batch by features of the "
                   "dictionary; auto: by the bytes that are sent"});
  f.field("groups", c.groups,
          {.help = "groups of ranks, to which the SAEs are dealt", .at_least = 1});
  f.field("reduction", c.reduction,
          {.help = "fast | ordered: the same bytes for any number of ranks and threads",
           .allowed = {"fast", "ordered"}});
  f.field("exchange", c.exchange,
          {.help = "gradients along a column of the mesh; sharded: each rank keeps the moments of "
                   "its part alone",
           .allowed = {"auto", "all_reduce", "sharded"}});
  f.field("wire", c.wire, {.help = "what gradients travel as", .allowed = {"fp32", "bf16"}});
  f.field("clip", c.clip, {.help = "bound on the global gradient norm; 0 = none", .at_least = 0});
  f.field("input_scale", c.input_scale,
          {.help = "saes[].normalize where that is absent; sqrt_d: mean norm becomes sqrt(d_in)",
           .allowed = {"none", "sqrt_d"}});
  Bytes cache{c.cache_bytes};
  f.field("cache_bytes", cache, {.help = "rows of a chunk kept in memory, per rank"});
  c.cache_bytes = cache.value;
  f.nested("optimizer", "Adam and its learning rate", c.optimizer);
}

void describe(Fields& f, AuxConfig& c) {
  f.field("coefficient", c.coefficient,
          {.help = "weight of the AuxK loss; 0 = off", .at_least = 0});
  f.field("k", c.k, {.help = "dead features used per row; 0 = d_in / 2"});
}

void describe(Fields& f, PenaltyConfig& c) {
  f.field(
      "kind", c.kind,
      {.help = "l1: mean sum of activations | tanh: of tanh(steepness |f|) | kl: each feature's "
               "rate of it against target | l0: the number of active features, by thresholds | "
               "auto: l1 for relu, none for others",
       .allowed = penalty_names()});
  f.field("coefficient", c.coefficient,
          {.help = "of its mean, on normalised input", .at_least = 0});
  f.field(
      "target", c.target,
      {.help = "kl: rate of each feature; l0: active features per row, 0 = few", .at_least = 0});
  f.field("steepness", c.steepness, {.help = "tanh, kl: of the tanh", .at_least = 0});
  f.field("weighted", c.weighted, {.help = "l1, tanh: by the norm of decoder rows, where free"});
  f.field("warmup_steps", c.warmup_steps,
          {.help = "over which it rises from zero", .unit = "steps"});
}

void describe(Fields& f, JumpReluConfig& c) {
  f.field("threshold", c.threshold, {.help = "of every feature at first", .at_least = 0});
  f.field("bandwidth", c.bandwidth,
          {.help = "width of the window about a threshold in which rows move it", .at_least = 0});
}

void describe(Fields& f, ResampleConfig& c) {
  f.field("every_steps", c.every_steps, {.help = "0 = never", .unit = "steps"});
  f.field("until", c.until, {.help = "share of all steps", .at_least = 0, .at_most = 1});
  f.field("scale", c.scale,
          {.help = "of their encoder rows, times the mean norm of the living ones", .at_least = 0});
}

void describe(Fields& f, SaeConfig& c) {
  f.field("name", c.name, {.help = "folder under saes/"});
  f.field("hook", c.hooks,
          {.help = "what it reads, one of hooks:, or a list of them, concatenated in that order",
           .one_or_list = true});
  f.field("variant", c.variant, {.help = "what is trained", .allowed = variant_names()});
  f.nested("penalty", "what asks for sparsity beside or instead of k", c.penalty);
  f.field("d_sae", c.d_sae, {.help = "features", .at_least = 1, .at_most = kMostFeatures});
  f.field("k", c.k,
          {.help = "topk, abstopk: active features per row; batchtopk, matryoshka: on average"});
  f.field("k_start", c.k_start,
          {.help = "k in the first step, from where it falls linearly to k; 0 = k throughout"});
  f.field("k_decay", c.k_decay,
          {.help = "share of all steps over which k falls", .at_least = 0, .at_most = 1});
  f.field("seed", c.seed, {.help = "of the initial weights"});
  f.field("seeds", c.seeds,
          {.help = "train so many on the same batches, with seeds from `seed` on: name-seed1 ...",
           .at_least = 1,
           .at_most = kMostSeeds});
  f.field("target_hook", c.target_hook,
          {.help = "what it reconstructs, one of hooks:, later in the model than what it reads (a "
                   "transcoder; variant relu); empty: what it reads"});
  f.field("normalize", c.normalize,
          {.help = "of what it reads and what it reconstructs, each by its own calibration; "
                   "layer_norm: each row by its own mean and std, as SAELens; whiten: ZCA; where "
                   "absent: train.input_scale",
           .allowed = {normalize_words().begin(), normalize_words().end()}});
  f.nested("optimizer", "where absent: train.optimizer", c.optimizer);
  f.field(
      "ema", c.ema,
      {.help = "what is exported, evaluated and probed: the exponential mean of the weights, of "
               "this decay a step, e.g. 0.999; 0 = the weights",
       .at_least = 0,
       .at_most = 1});
  f.field("non_negative_decoder", c.non_negative_decoder,
          {.help = "keep every entry of W_dec at or above 0"});
  f.field("decoder_norm", c.decoder_norm,
          {.help = "of rows of W_dec", .allowed = {"unit", "free"}});
  f.field("b_dec", c.b_dec,
          {.help = "at first, of the calibration's rows: their geometric median, mean, or zero",
           .allowed = {"median", "mean", "zero"}});
  f.field("threshold_rate", c.threshold_rate,
          {.help = "batchtopk, matryoshka: of the exponential mean of its threshold"});
  f.nested("jumprelu", "jumprelu: its thresholds", c.jumprelu);
  f.field("prefixes", c.prefixes,
          {.help = "matryoshka: first so many features that reconstruct alone too; empty: d_sae / "
                   "16, / 4, / 2"});
  f.nested("resample",
           "without AuxK: dead features begin anew from rows of a batch that are explained badly",
           c.resample);
  f.nested("aux", "AuxK: features that have not fired for long learn the residual", c.aux);
}

void describe(Fields& f, CheckpointConfig& c) {
  f.field("keep", c.keep,
          {.help = "SAELens folders kept: spread (32, evenly) | all | N (the last N) | every m"});
  f.field("every_s", c.every_s, {.help = "also within a chunk", .unit = "s", .at_least = 1});
}

void describe(Fields& f, EvaluateConfig& c) {
  f.field("baselines", c.baselines,
          {.help = "compared with at equal L0: pca, pca_topk, ica, semi_nmf, split_nmf, neurons, "
                   "random"});
  f.field("baseline_rows", c.baseline_rows,
          {.help = "training rows that ica and the nmf baselines are fitted to, at most",
           .unit = "rows",
           .at_least = 1});
  f.field("ce", c.ce, {.help = "CE loss with the SAE spliced into the model"});
  f.field("ce_tokens", c.ce_tokens,
          {.help = "held-out tokens for it, at most", .unit = "tokens", .at_least = 1});
  f.field("statistics", c.statistics, {.help = "measure the activations themselves too"});
  f.field("statistics_rows", c.statistics_rows,
          {.help = "held-out rows behind the statistics of the activations, at most; 0 = all",
           .unit = "rows"});
  f.field("curve_rows", c.curve_rows,
          {.help = "held-out rows behind each line of metrics.jsonl, at most; 0 = all",
           .unit = "rows"});
  f.field(
      "advice", c.advice,
      {.help = "file of rules for the verdicts; empty: the program's own (configs/advice.yaml)"});
  f.field("seed", c.seed, {.help = "of the bootstrap over documents, and of where ica starts"});
}

void describe(Fields& f, ProbeConfig& c) {
  f.field("examples", c.examples, {.help = "strongest rows kept per feature", .at_least = 1});
  f.field("tokens", c.tokens,
          {.help = "training rows read, at most", .unit = "rows", .at_least = 1});
}

void describe(Fields& f, ReportConfig& c) {
  f.field("file", c.file, {.help = "name inside the run's folder"});
}

void describe(Fields& f, PipelineConfig& c) {
  f.field("layout", c.layout,
          {.help = "how ranks share the roles", .allowed = {"auto", "fused", "split"}});
  f.field("download_ranks", c.download_ranks,
          {.help = "of the split layout; 0 = chosen, for all four", .unit = "ranks"});
  f.field("tokenize_ranks", c.tokenize_ranks, {.help = "of the split layout", .unit = "ranks"});
  f.field("extract_ranks", c.extract_ranks, {.help = "of the split layout", .unit = "ranks"});
  f.field("train_ranks", c.train_ranks, {.help = "of the split layout", .unit = "ranks"});
  f.field("queue_shards", c.queue_shards,
          {.help = "downloaded shards waiting for tokenization, at most", .at_least = 1});
  f.field("queue_chunks", c.queue_chunks,
          {.help = "chunks made ahead of their use, at most; disk.max_bytes may allow fewer",
           .at_least = 1});
  f.field("watchdog_s", c.watchdog_s,
          {.help = "a rank that gets no further for so long ends the job; 0 = never",
           .unit = "s",
           .at_least = 0});
}

void describe(Fields& f, SubmitConfig& c) {
  f.field("script", c.script,
          {.help = "of jobs/; auto: by nodes, and chain where the site forbids requeue",
           .allowed = {"auto", "single-node", "multi-node", "hetjob", "chain"}});
  f.field("nodes", c.nodes, {.help = "nodes of the job", .at_least = 1});
  f.field("ranks_per_node", c.ranks_per_node, {.help = "ranks of a node", .at_least = 1});
  f.field("cpus_per_rank", c.cpus_per_rank, {.help = "cores of a rank; 0 = as the site has it"});
  f.field("gpus_per_node", c.gpus_per_node, {.help = "GPUs of a node"});
  f.field("cpu_nodes", c.cpu_nodes,
          {.help = "hetjob: nodes for download and tokenization", .at_least = 1});
  f.field("cpu_ranks", c.cpu_ranks, {.help = "hetjob: ranks on them, together", .at_least = 1});
  f.field("memory", c.memory, {.help = "of a node; 0 = as the site has it"});
  f.field("time", c.time,
          {.help = "walltime of one attempt: 04:00:00, 1-12:00:00, 3h, 90min; a run goes on"});
  f.field("signal_s", c.signal_s,
          {.help = "SIGUSR1 so long before the walltime", .unit = "s", .at_least = 10});
  f.field("max_attempts", c.max_attempts,
          {.help = "of one job, by requeue or chain", .at_least = 1});
  f.field("gflops", c.gflops,
          {.help = "of one rank in fp32 products, for predicted times; 0 = measured here",
           .unit = "GFLOP/s",
           .at_least = 0});
  f.field("write_bytes_per_s", c.write_bytes_per_s, {.help = "to the disk, for predicted times"});
}

namespace {

// What `rule` refuses, with the place where `key` was given.
template <typename Rule>
void at_key(const RunConfig& c, const std::string& key, const Rule& rule) {
  try {
    rule();
  } catch (const ConfigError& error) {
    throw ConfigError("{}: {}", where_given(c, key), error.what());
  }
}

bool is_plain_name(const std::string& text) {
  return !text.empty() && text.front() != '.' && text.size() <= kLongestName &&
         std::ranges::all_of(text, [](unsigned char ch) {
           return std::isalnum(ch) != 0 || ch == '-' || ch == '_' || ch == '.';
         });
}

// A setting of the format whose work is not built yet.
[[noreturn]] void refuse_unbuilt(const RunConfig& c, const std::string& key,
                                 const std::string& value, std::string_view built) {
  throw NotBuilt("{}: {} is {}, which is not built in this version. Use {}.", where_given(c, key),
                 key, value, built);
}

// What an SAE reads and reconstructs lies in the store.
void check_hooks_of(const RunConfig& c, const SaeConfig& sae, const std::string& key) {
  const auto expect_stored = [&](const std::string& setting, const std::string& hook) {
    if (std::ranges::find(c.hooks, hook) == c.hooks.end())
      throw ConfigError("{}: {} is '{}', which hooks: does not list ({}). Add it there.",
                        where_given(c, setting), setting, hook, fmt::join(c.hooks, ", "));
  };
  if (sae.hooks.empty())
    throw ConfigError("{}: {}.hook is missing. Name one of hooks: ({}).", where_given(c, key), key,
                      fmt::join(c.hooks, ", "));
  std::set<std::string> names;
  for (const std::string& hook : sae.hooks) {
    expect_stored(key + ".hook", hook);
    if (!names.insert(hook).second)
      throw ConfigError("{}: {}.hook lists '{}' twice. Name each hook once.",
                        where_given(c, key + ".hook"), key, hook);
  }
  if (!is_transcoder(sae)) return;
  const std::string setting = key + ".target_hook";
  expect_stored(setting, sae.target_hook);
  for (const std::string& hook : sae.hooks)
    if (!comes_before(parse_hook_point(hook), parse_hook_point(sae.target_hook)))
      throw ConfigError(
          "{}: {} is '{}', which the model reaches before '{}', what the SAE reads, so that it "
          "cannot be replaced by the reconstruction. Name a later hook.",
          where_given(c, setting), setting, sae.target_hook, hook);
}

// Evaluation and probe know one hook that is read (only_hook), and few variants are transcoders:
// the one place that says so to the user.
void refuse_untrained_hooks(const RunConfig& c, const SaeConfig& sae, const std::string& key) {
  if (sae.hooks.size() > 1) refuse_unbuilt(c, key + ".hook", hook_text(sae), "one of them");
  const std::vector<std::string_view> built = transcoder_variant_names();
  if (is_transcoder(sae) && std::ranges::find(built, sae.variant) == built.end())
    refuse_unbuilt(c, key + ".target_hook",
                   fmt::format("'{}' of variant {}", sae.target_hook, sae.variant),
                   fmt::format("variant {}", fmt::join(built, " or ")));
}

void check_mesh(const RunConfig& c) {
  if (c.device == "cuda" && c.train.reduction == "ordered")
    throw ConfigError(
        "{}: device is cuda, but train.reduction is ordered, which is promised on the CPU alone. "
        "Set device: cpu, or train.reduction: fast.",
        where_given(c, "device"));
  at_key(c, "train.mesh", [&] { (void)parse_mesh(c.train.mesh); });
  if (c.train.reduction == "ordered" && c.train.wire != "fp32")
    throw ConfigError(
        "{}: train.wire is {}, but train.reduction is ordered, whose gradients do not travel. "
        "Leave "
        "wire at fp32, or set reduction: fast.",
        where_given(c, "train.wire"), c.train.wire);
}

void check_saes(const RunConfig& c) {
  check_mesh(c);
  if (c.saes.empty())
    throw ConfigError(
        "saes: is empty: name at least one, e.g. - {{name: a, hook: ..., d_sae: 1024, k: 16}}");
  std::set<std::string> names;
  for (std::size_t i = 0; i < c.saes.size(); ++i) {
    const SaeConfig& sae = c.saes[i];
    const std::string key = fmt::format("saes.{}", i);
    at_key(c,
           c.origins.of(key + ".optimizer") == Origins::kDefault ? "train.optimizer"
                                                                 : key + ".optimizer",
           [&] { check(sae.optimizer, key + ".optimizer"); });
    if (!is_plain_name(sae.name))
      throw ConfigError(
          "{}: {}.name is '{}'; expected letters, digits, '-', '_' or '.', the first no '.', at "
          "most {} (it is a folder's name)",
          where_given(c, sae.name.empty() ? key : key + ".name"), key, sae.name, kLongestName);
    try {
      check(sae, key);
    } catch (const ConfigError& error) {
      throw ConfigError("{} ({}: {}, k: {}, d_sae: {})", error.what(), key, where_given(c, key),
                        where_given(c, key + ".k"), where_given(c, key + ".d_sae"));
    }
    if (!names.insert(sae.name).second)
      throw ConfigError("{}: {}.name '{}' is used twice. Give each SAE its own name.",
                        where_given(c, key + ".name"), key, sae.name);
    check_hooks_of(c, sae, key);
    refuse_untrained_hooks(c, sae, key);
  }
}

// `seeds: 3` as three entries; the first keeps its place.
void expand_seeds(RunConfig& c) {
  std::vector<SaeConfig> expanded;
  std::set<std::string> names;
  for (std::size_t i = 0; i < c.saes.size(); ++i) {
    const SaeConfig& sae = c.saes[i];
    for (std::uint64_t n = 0; n < sae.seeds; ++n) {
      SaeConfig& one = expanded.emplace_back(sae);
      one.seeds = 1;
      one.seed = sae.seed + n;
      if (sae.seeds > 1) one.name = fmt::format("{}-seed{}", sae.name, one.seed);
      if (!names.insert(one.name).second || one.name.size() > kLongestName)
        throw ConfigError("{}: saes.{}.seeds makes an SAE '{}', {}. Give that entry another name.",
                          where_given(c, fmt::format("saes.{}.seeds", i)), i, one.name,
                          one.name.size() > kLongestName ? "a name too long for a folder"
                                                         : "which there is already");
    }
  }
  c.saes = std::move(expanded);
}

void check_hooks(const RunConfig& c) {
  if (c.hooks.empty())
    throw ConfigError("{}: hooks: is empty: name at least one, e.g. [blocks.4.hook_resid_post]",
                      where_given(c, "hooks"));
  std::set<std::string> hooks;
  for (const std::string& hook : c.hooks) {
    at_key(c, "hooks", [&] { (void)parse_hook_point(hook); });
    if (!hooks.insert(hook).second)
      throw ConfigError("{}: hooks lists '{}' twice", where_given(c, "hooks"), hook);
  }
}

void check_order(const RunConfig& c) {
  try {
    check_order_rule(order_rule(c));
  } catch (const ConfigError& error) {
    throw ConfigError("{} (store.chunk_rows: {}, store.block_rows: {}, train.batch_rows: {})",
                      error.what(), where_given(c, "store.chunk_rows"),
                      where_given(c, "store.block_rows"), where_given(c, "train.batch_rows"));
  }
  const std::uint64_t wanted = wanted_rows(c);
  at_key(c, "train.tokens", [&] { (void)SampleOrder(order_rule(c), wanted); });
}

// What download and tokenize need.
void check_corpus(const RunConfig& c) {
  if (c.run.empty()) throw ConfigError("{}: run is empty: give a folder", where_given(c, "run"));
  if (c.data_root.empty())
    throw ConfigError("{}: data_root is empty: give a folder", where_given(c, "data_root"));
  if (c.model.empty())
    throw ConfigError("{}: model: is missing: give file:<folder> or <owner>/<name>",
                      where_given(c, "model"));
  check_model_setting(c);
  if (c.source.from.empty())
    throw ConfigError("{}: source.from: is missing: give e.g. file:shards/*.jsonl.zst",
                      where_given(c, "source.from"));
  for (const char* kind : {"hf", "kaggle", "wikimedia"})
    if (c.source.from.starts_with(std::string(kind) + ":"))
      refuse_unbuilt(c, "source.from", c.source.from, "file:<path or glob>");
  at_key(c, "rows.take", [&] { (void)parse_row_rule(c.rows.take); });
  OrderRule rule = order_rule(c);
  rule.batch_rows = rule.blocks();  // the smallest there is
  at_key(c, "store.chunk_rows", [&] { check_order_rule(rule); });
}

void check_training(const RunConfig& c) {
  check_hooks(c);
  check_order(c);
  at_key(c, "train.optimizer", [&] { check(c.train.optimizer, "train.optimizer"); });
  check_saes(c);
  if (c.train.corpus_passes > 1 && c.store.mode != "keep")
    throw ConfigError(
        "{}: train.corpus_passes is {} but store.mode is '{}'. Set store.mode to keep, or raise "
        "train.passes_per_chunk instead.",
        where_given(c, "train.corpus_passes"), c.train.corpus_passes, c.store.mode);
  (void)keep_rule(c);
  at_key(c, "evaluate.baselines", [&] { check(c.evaluate); });
  at_key(c, "evaluate.advice", [&] { (void)Advice::load(c.evaluate.advice); });
  if (!is_plain_name(c.report.file) || !c.report.file.ends_with(".html"))
    throw ConfigError(
        "{}: report.file is '{}'; expected a plain name that ends in .html, such as report.html "
        "(letters, digits, '-', '_', '.'; it lies in the run's folder)",
        where_given(c, "report.file"), c.report.file);
}

void check(const RunConfig& c, Asks asks) {
  check_corpus(c);
  if (asks == Asks::everything) check_training(c);
  at_key(c, "submit.time", [&] {
    if (walltime_s(c.submit) <= c.submit.signal_s)
      throw ConfigError("submit.time is {}, no longer than submit.signal_s {}: raise it",
                        c.submit.time, c.submit.signal_s);
  });
  if (c.submit.write_bytes_per_s.value == 0)
    throw ConfigError("{}: submit.write_bytes_per_s is 0; give what the file system takes",
                      where_given(c, "submit.write_bytes_per_s"));
}

}  // namespace

void describe(Fields& f, RunConfig& c) {
  f.field("run", c.run, {.help = "folder of this run"});
  f.field("data_root", c.data_root, {.help = "shards and tokens shared by runs"});
  f.field("device", c.device,
          {.help = "what training computes on, frozen with the numerics; auto: a GPU where every "
                   "rank has one",
           .allowed = {"auto", "cpu", "cuda"}});
  f.field(
      "model", c.model,
      {.help = "file:<folder>, or <owner>/<name>[@revision] from the local Hugging Face cache"});
  f.nested("source", "where documents come from and how they are cleaned", c.source);
  f.nested("tokens", "contexts", c.tokens);
  f.nested("rows", "which tokens become rows", c.rows);
  f.field("hooks", c.hooks,
          {.help = "hook points stored, e.g. [blocks.4.hook_resid_post]; layers count from 0, "
                   "from the end (blocks.-1.hook_resid_post, also last) or by depth "
                   "(blocks.50%.hook_resid_post)"});
  f.nested("calibration", "measured once before chunk 0 and frozen", c.calibration);
  f.nested("heldout", "documents never trained on: all metrics are measured on them", c.heldout);
  f.nested("extract", "the forward pass", c.extract);
  f.nested("store", "the activation store", c.store);
  f.nested("disk", "quota", c.disk);
  f.nested("train", "training, the same for all SAEs", c.train);
  f.list(
      "saes", "the SAEs to train on one stream", c.saes.size(),
      [&](std::size_t n) {
        SaeConfig usual;
        usual.normalize = c.train.input_scale;
        usual.optimizer = c.train.optimizer;
        c.saes.assign(n, usual);
      },
      [&](Fields& inner, std::size_t i) { describe(inner, c.saes[i]); });
  f.nested("checkpoint", "after each chunk, always", c.checkpoint);
  f.nested("evaluate", "after training", c.evaluate);
  f.nested("probe", "what the features mean", c.probe);
  f.nested("report", "the HTML report", c.report);
  f.nested("pipeline", "roles of the ranks", c.pipeline);
  f.nested("submit", "what a batch job asks for: refract submit", c.submit);
}

namespace {

// Hook points that are told by the model's depth become names: a run is known by what it does.
void resolve_hooks(RunConfig& c) {
  std::vector<std::pair<std::string, std::string*>> hooks;  // with the key that gave it
  for (std::string& hook : c.hooks) hooks.emplace_back("hooks", &hook);
  for (std::size_t i = 0; i < c.saes.size(); ++i) {
    for (std::string& hook : c.saes[i].hooks)
      hooks.emplace_back(fmt::format("saes.{}.hook", i), &hook);
    hooks.emplace_back(fmt::format("saes.{}.target_hook", i), &c.saes[i].target_hook);
  }
  std::erase_if(hooks, [](const auto& hook) { return !is_relative_hook_point(*hook.second); });
  if (hooks.empty() || c.model.empty()) return;
  const std::size_t layers = read_model_info(model_folder(c)).layers;
  for (const auto& [key, hook] : hooks)
    at_key(c, key, [&hook = hook, layers] { *hook = resolve_hook_point(*hook, layers); });
}

}  // namespace

RunConfig load_run_config(const std::string& file, const std::vector<std::string>& overrides,
                          Asks asks) {
  const std::string text = read_configuration_file(file);
  if (text.starts_with(kFrozenHead))
    throw ConfigError(
        "{} is the frozen configuration of a run; give the file that the run was started with",
        file);
  const auto read = [&](const Defaults& defaults) {
    RunConfig config;
    config.origins = read_yaml_text(
        text, file, overrides, [&](Fields& f) { describe(f, config); }, defaults);
    return config;
  };
  RunConfig config = read({});
  config = read(recipe_defaults(config));
  resolve_hooks(config);
  check(config, asks);
  expand_seeds(config);
  return config;
}

RunConfig run_config_from_text(const std::string& text, const std::string& origin) {
  RunConfig config;
  config.origins = read_yaml_text(text, origin, {}, [&](Fields& f) { describe(f, config); });
  return config;
}

std::string to_yaml(const RunConfig& config) {
  RunConfig copy = config;
  return print_yaml([&](Fields& f) { describe(f, copy); });
}

std::string settings_reference(const std::string& section) {
  RunConfig defaults;
  const std::string all = print_reference([&](Fields& f) { describe(f, defaults); });
  if (section.empty()) return all;
  std::string out, paragraph;
  std::set<std::string> known;
  std::size_t at = 0;
  while (at < all.size()) {
    std::size_t end = all.find("\n\n", at);
    end = end == std::string::npos ? all.size() : end + 1;
    paragraph = all.substr(at, end - at);
    const std::size_t start = paragraph.find_first_not_of('\n');
    const std::string head =
        paragraph.substr(start, paragraph.find_first_of(" :.(", start) - start);
    if (start != std::string::npos && paragraph[start] != ' ') known.insert(head);
    if (head == section) out += paragraph;
    at = end;
  }
  if (out.empty())
    throw ConfigError("no settings section '{}'; there are: {}", section, fmt::join(known, ", "));
  return out;
}

OrderRule order_rule(const RunConfig& c) {
  return {.store_seed = c.store.seed,
          .data_seed = c.train.data_seed,
          .chunk_rows = c.store.chunk_rows,
          .block_rows = c.store.block_rows,
          .batch_rows = c.train.batch_rows};
}

std::string where_given(const RunConfig& c, std::string_view dotted_key) {
  return c.origins.of(dotted_key);
}

std::uint64_t wanted_rows(const RunConfig& c) {
  if (c.train.tokens == "all") return 0;
  const std::optional<std::int64_t> rows = parse_whole(c.train.tokens);
  if (!rows || *rows < 1 || static_cast<double>(*rows) > kMostTokens)
    throw ConfigError("{}: train.tokens is '{}'; expected all, or a whole number from 1 to {:g}",
                      where_given(c, "train.tokens"), c.train.tokens, kMostTokens);
  return static_cast<std::uint64_t>(*rows);
}

double walltime_s(const SubmitConfig& submit) {
  const auto seconds = parse_duration_s(submit.time);
  if (!seconds)
    throw ConfigError(
        "submit.time is '{}'; expected a time with its unit: 04:00:00, 1-12:00:00, 3h, 90min",
        submit.time);
  return static_cast<double>(*seconds);
}

std::vector<std::string> sae_names(const RunConfig& c) {
  std::vector<std::string> names;
  for (const SaeConfig& sae : c.saes) names.push_back(sae.name);
  return names;
}

KeepRule keep_rule(const RunConfig& c) {
  using Kind = KeepRule::Kind;
  const std::string_view text = c.checkpoint.keep;
  if (text == "spread") return {Kind::spread, 0};
  if (text == "all") return {Kind::all, 0};
  // As a map of one entry, {every: 2} reads as "every: 2".
  const std::size_t word = text.starts_with("every: ") ? 7 : text.starts_with("every ") ? 6 : 0;
  const auto n = parse_count(text.substr(word));
  if (!n || *n == 0)
    throw ConfigError(
        "{}: checkpoint.keep is '{}'; expected spread, all, a whole number from 1 (so many of the "
        "last), or 'every m' with m from 1",
        where_given(c, "checkpoint.keep"), text);
  return {word > 0 ? Kind::every : Kind::last, *n};
}

}  // namespace refract
