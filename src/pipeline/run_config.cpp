#include "refract/pipeline/run_config.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <set>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/numbers.hpp"
#include "refract/lm/hook_point.hpp"

namespace refract {

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
          {.help = "rows measured before chunk 0, at most", .unit = "rows", .at_least = 1});
  f.field(
      "max_tokens", c.max_tokens,
      {.help = "tokens run through the model for it, at most", .unit = "tokens", .at_least = 1});
}

void describe(Fields& f, HeldoutConfig& c) {
  f.field("share", c.share,
          {.help = "share of documents never trained on", .at_least = 0.0001, .at_most = 0.9});
  f.field("rows", c.rows, {.help = "rows of heldout.h5, at most", .unit = "rows", .at_least = 1});
  f.field(
      "max_tokens", c.max_tokens,
      {.help = "tokens run through the model for it, at most", .unit = "tokens", .at_least = 1});
}

void describe(Fields& f, ExtractConfig& c) {
  f.field("dtype", c.dtype, {.help = "of the forward pass", .allowed = {"fp32"}});
}

void describe(Fields& f, StoreConfig& c) {
  f.field("mode", c.mode,
          {.help = "ring: trained chunks are evicted when disk.max_bytes asks for it | keep",
           .allowed = {"ring", "keep"}});
  f.field("dtype", c.dtype, {.help = "of stored activations", .allowed = {"bf16", "fp32"}});
  f.field("chunk_rows", c.chunk_rows,
          {.help = "rows of a chunk: the unit of shuffle, checkpoint and eviction",
           .unit = "rows",
           .at_least = 1});
  f.field("block_rows", c.block_rows,
          {.help = "rows computed by one rank at a time", .unit = "rows", .at_least = 1});
  f.field("seed", c.seed, {.help = "of the order of contexts and rows"});
}

void describe(Fields& f, DiskConfig& c) {
  f.field("max_bytes", c.max_bytes,
          {.help = "bound on everything a run keeps, all classes together"});
}

void describe(Fields& f, OptimizerConfig& c) {
  f.field("lr", c.lr, {.help = "Adam's learning rate", .at_least = 0});
  f.field("warmup", c.warmup,
          {.help = "share of all steps with rising rate", .at_least = 0, .at_most = 1});
  f.field(
      "decay", c.decay,
      {.help = "share of all steps, at the end, with falling rate", .at_least = 0, .at_most = 1});
  f.field("beta1", c.beta1, {.help = "Adam", .at_least = 0, .at_most = 1});
  f.field("beta2", c.beta2, {.help = "Adam", .at_least = 0, .at_most = 1});
  f.field("epsilon", c.epsilon, {.help = "Adam", .at_least = 0});
}

void describe(Fields& f, TrainConfig& c) {
  f.field("tokens", c.tokens,
          {.help = "distinct rows to train on: all, or a number", .unit = "rows"});
  f.field("passes_per_chunk", c.passes_per_chunk,
          {.help = "passes over a chunk before the next", .at_least = 1});
  f.field("corpus_passes", c.corpus_passes,
          {.help = "passes over all chunks; more than 1 needs store.mode keep", .at_least = 1});
  f.field("batch_rows", c.batch_rows,
          {.help = "rows of the global batch", .unit = "rows", .at_least = 1});
  f.field("data_seed", c.data_seed, {.help = "of the order of batches, for all SAEs"});
  f.field("dtype", c.dtype, {.help = "of the products", .allowed = {"fp32"}});
  f.field("reduction", c.reduction,
          {.help = "fast | ordered: the same bytes for any number of ranks and threads",
           .allowed = {"fast", "ordered"}});
  f.field("exchange", c.exchange,
          {.help = "what the ranks exchange", .allowed = {"auto", "all_reduce", "sharded"}});
  f.field("clip", c.clip, {.help = "bound on the global gradient norm; 0 = none", .at_least = 0});
  f.field("input_scale", c.input_scale,
          {.help = "sqrt_d: mean norm becomes sqrt(d_in)", .allowed = {"none", "sqrt_d"}});
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

void describe(Fields& f, L1Config& c) {
  f.field("coefficient", c.coefficient,
          {.help = "of the mean sum of activations, on scaled input", .at_least = 0});
  f.field("warmup_steps", c.warmup_steps,
          {.help = "over which it rises from zero", .unit = "steps"});
}

void describe(Fields& f, SaeConfig& c) {
  f.field("name", c.name, {.help = "folder under saes/"});
  f.field("hook", c.hook, {.help = "hook point it is trained on, one of hooks:"});
  f.field("variant", c.variant, {.help = "what is trained", .allowed = variant_names()});
  f.field("d_sae", c.d_sae, {.help = "features", .at_least = 1});
  f.field("k", c.k, {.help = "topk: active features per row; batchtopk: on average"});
  f.field("seed", c.seed, {.help = "of the initial weights"});
  f.field("seeds", c.seeds, {.help = "train so many, with seeds from `seed` on", .at_least = 1});
  f.field("target_hook", c.target_hook, {.help = "what it reconstructs; empty: hook"});
  f.field("normalize", c.normalize,
          {.help = "of the input; where absent: train.input_scale",
           .allowed = {"none", "sqrt_d", "layer_norm", "whiten"}});
  f.nested("optimizer", "where absent: train.optimizer", c.optimizer);
  f.field("non_negative_decoder", c.non_negative_decoder,
          {.help = "keep every entry of W_dec at or above 0"});
  f.field("threshold_rate", c.threshold_rate,
          {.help = "batchtopk: of the exponential mean of its threshold"});
  f.nested("l1", "relu: the L1 penalty", c.l1);
  f.nested("aux", "AuxK: features that have not fired for long learn the residual", c.aux);
}

void describe(Fields& f, CheckpointConfig& c) {
  f.field("keep", c.keep,
          {.help = "SAELens folders kept: spread (32, evenly over the run) | all | N (the last N) "
                   "| every m"});
  f.field("every_s", c.every_s, {.help = "also within a chunk", .unit = "s", .at_least = 1});
}

void describe(Fields& f, EvaluateConfig& c) {
  f.field("baselines", c.baselines, {.help = "reconstructions to compare with: pca, random"});
  f.field("ce", c.ce, {.help = "CE loss with the SAE spliced into the model"});
  f.field("ce_tokens", c.ce_tokens,
          {.help = "held-out tokens for it, at most", .unit = "tokens", .at_least = 1});
  f.field("curve_rows", c.curve_rows,
          {.help = "held-out rows behind each line of metrics.jsonl, at most; 0 = all",
           .unit = "rows"});
  f.field("seed", c.seed, {.help = "of the bootstrap over documents"});
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

namespace {

std::uint64_t whole_number(const std::string& text, const std::string& key,
                           const std::string& expected) {
  std::string digits = text;
  std::erase(digits, '_');
  char* end = nullptr;
  const double value = std::strtod(digits.c_str(), &end);
  if (digits.empty() || *end != '\0' || value < 1 || value != std::floor(value) || value > 0x1p62)
    throw ConfigError("{}: {} is '{}'; expected {}", where_given(key), key, text, expected);
  return static_cast<std::uint64_t>(value);
}

// A setting of the format whose work is not built yet.
[[noreturn]] void refuse_unbuilt(const std::string& key, const std::string& value,
                                 std::string_view built) {
  throw NotBuilt("{}: {} is {}, which is not built in this version. Use {}.", where_given(key), key,
                 value, built);
}

void check_saes(const RunConfig& c) {
  if (c.saes.empty())
    throw ConfigError(
        "saes: is empty: name at least one, e.g. - {{name: a, hook: ..., d_sae: 1024, k: 16}}");
  std::set<std::string> names;
  for (std::size_t i = 0; i < c.saes.size(); ++i) {
    const SaeConfig& sae = c.saes[i];
    const std::string key = fmt::format("saes.{}", i);
    check(sae.optimizer, key + ".optimizer");
    if (sae.seeds > 1) refuse_unbuilt(key + ".seeds", std::to_string(sae.seeds), "1");
    if (!sae.target_hook.empty() && sae.target_hook != sae.hook)
      refuse_unbuilt(key + ".target_hook", sae.target_hook, "the SAE's hook");
    if (sae.normalize != "none" && sae.normalize != "sqrt_d")
      refuse_unbuilt(key + ".normalize", sae.normalize, "none or sqrt_d");
    try {
      check(sae, key);
    } catch (const ConfigError& error) {
      throw ConfigError("{} ({})", error.what(), where_given(key + ".k"));
    }
    const bool plain = !sae.name.empty() &&
                       std::all_of(sae.name.begin(), sae.name.end(),
                                   [](unsigned char ch) {
                                     return std::isalnum(ch) || ch == '-' || ch == '_' || ch == '.';
                                   }) &&
                       sae.name.front() != '.';
    if (!plain)
      throw ConfigError(
          "{}: {}.name is '{}'; expected letters, digits, '-', '_' or '.' (it is a folder's name)",
          where_given(key + ".name"), key, sae.name);
    if (!names.insert(sae.name).second)
      throw ConfigError("{}: {}.name '{}' is used twice. Give each SAE its own name.",
                        where_given(key + ".name"), key, sae.name);
    if (std::find(c.hooks.begin(), c.hooks.end(), sae.hook) == c.hooks.end())
      throw ConfigError("{}: {}.hook is '{}', which hooks: does not list ({}). Add it there.",
                        where_given(key + ".hook"), key, sae.hook, fmt::join(c.hooks, ", "));
  }
}

void check(const RunConfig& c) {
  if (c.model.empty()) throw ConfigError("model: is missing: give file:<folder> or <owner>/<name>");
  if (c.source.from.empty())
    throw ConfigError("source.from: is missing: give e.g. file:shards/*.jsonl.zst");
  if (c.hooks.empty())
    throw ConfigError("hooks: is empty: name at least one, e.g. [blocks.4.hook_resid_post]");
  std::set<std::string> hooks;
  for (const std::string& hook : c.hooks) {
    (void)parse_hook_point(hook);
    if (!hooks.insert(hook).second)
      throw ConfigError("{}: hooks lists '{}' twice", where_given("hooks"), hook);
  }
  (void)parse_row_rule(c.rows.take);
  check_order_rule(order_rule(c));
  check_saes(c);
  check(c.train.optimizer, "train.optimizer");
  if (c.device == "cuda") refuse_unbuilt("device", c.device, "auto or cpu");
  (void)wanted_rows(c);
  if (c.train.corpus_passes > 1 && c.store.mode != "keep")
    throw ConfigError(
        "{}: train.corpus_passes is {} but store.mode is '{}'. Set store.mode to keep, or raise "
        "train.passes_per_chunk instead.",
        where_given("train.corpus_passes"), c.train.corpus_passes, c.store.mode);
  (void)keep_rule(c);
  check(c.evaluate);
  if (c.report.file.find('/') != std::string::npos || c.report.file.empty())
    throw ConfigError("{}: report.file is '{}'; expected a file name without a folder",
                      where_given("report.file"), c.report.file);
}

}  // namespace

void describe(Fields& f, RunConfig& c) {
  f.field("run", c.run, {.help = "folder of this run"});
  f.field("data_root", c.data_root, {.help = "shards, tokens and models shared by runs"});
  f.field("device", c.device,
          {.help = "what computes; frozen with the numerics", .allowed = {"auto", "cpu", "cuda"}});
  f.field(
      "model", c.model,
      {.help = "file:<folder>, or <owner>/<name>[@revision] from the local Hugging Face cache"});
  f.nested("source", "where documents come from and how they are cleaned", c.source);
  f.nested("tokens", "contexts", c.tokens);
  f.nested("rows", "which tokens become rows", c.rows);
  f.field("hooks", c.hooks,
          {.help = "hook points stored, e.g. [blocks.4.hook_resid_post]; layers count from 0"});
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
}

RunConfig load_run_config(const std::string& file, const std::vector<std::string>& overrides) {
  RunConfig config;
  read_yaml(file, overrides, [&](Fields& f) { describe(f, config); });
  check(config);
  return config;
}

RunConfig run_config_from_text(const std::string& text, const std::string& origin) {
  RunConfig config;
  read_yaml_text(text, origin, {}, [&](Fields& f) { describe(f, config); });
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

std::uint64_t wanted_rows(const RunConfig& c) {
  return c.train.tokens == "all"
             ? 0
             : whole_number(c.train.tokens, "train.tokens", "all, or a whole number");
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
        where_given("checkpoint.keep"), text);
  return {word > 0 ? Kind::every : Kind::last, *n};
}

std::filesystem::path model_folder(const RunConfig& c) {
  if (c.model.starts_with("file:")) return c.model.substr(5);
  const std::string id = c.model.substr(0, c.model.find('@'));
  const std::string revision =
      c.model.find('@') == std::string::npos ? "main" : c.model.substr(c.model.find('@') + 1);
  const char* home = std::getenv("HF_HOME");
  const char* user = std::getenv("HOME");
  const fs::path cache =
      home ? fs::path(home) : fs::path(user ? user : ".") / ".cache" / "huggingface";
  std::string folder = "models--" + id;
  for (std::size_t at; (at = folder.find('/')) != std::string::npos;) folder.replace(at, 1, "--");
  const fs::path repository = cache / "hub" / folder;
  std::error_code ignored;
  std::string commit = revision;
  if (fs::exists(repository / "refs" / revision, ignored))
    commit = read_file(repository / "refs" / revision);
  const fs::path snapshot = repository / "snapshots" / commit;
  if (!fs::exists(snapshot, ignored))
    throw ConfigError(
        "{}: model '{}' is not in the local Hugging Face cache ({}). Fetch it there "
        "(huggingface-cli download {}), or give file:<folder>.",
        where_given("model"), c.model, cache.string(), id);
  return snapshot;
}

}  // namespace refract
