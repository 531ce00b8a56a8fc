#include "refract/pipeline/preflight.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "refract/base/activity.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/order/row_rule.hpp"
#include "refract/order/window_order.hpp"
#include "refract/pipeline/disk_plan.hpp"
#include "refract/pipeline/identity.hpp"
#include "refract/pipeline/ledger.hpp"
#include "refract/pipeline/numerics.hpp"
#include "refract/pipeline/run_folder.hpp"

namespace refract {
namespace {

void check_model(const RunConfig& config, const fs::path& folder) {
  std::vector<HookPoint> hooks;
  for (const std::string& hook : config.hooks) hooks.push_back(parse_hook_point(hook));
  try {
    check_language_model(folder, hooks);
  } catch (const ConfigError& error) {
    throw ConfigError("{}: {}", where_given(config, "hooks"), error.what());
  }
}

std::uint64_t sum(const ShardRows& shard) {
  std::uint64_t rows = 0;
  for (const std::uint32_t of_context : shard.rows) rows += of_context;
  return rows;
}

// Of the windows' orders where they are all there, else counted in the context tables. Nothing when
// a shard is not tokenized, or what is there cannot be read: it will be made again.
std::optional<std::uint64_t> known_rows(const RunConfig& config, const TokenizePlan& tokens,
                                        const fs::path& contexts) {
  if (tokens.shards.empty()) return std::nullopt;
  const RowRule rule = parse_row_rule(config.rows.take);
  const std::uint64_t shards = tokens.shards.size(), window_shards = config.tokens.window_shards;
  std::uint64_t rows = 0;
  std::error_code ignored;
  try {
    for (std::uint64_t first = 0; first < shards; first += window_shards) {
      const fs::path order = contexts / window_name(config, first / window_shards);
      if (fs::exists(order, ignored)) {
        rows += Window(order, {}, TableFile::Checks::whole_file).rows();
        continue;
      }
      for (std::uint64_t s = first; s < std::min(shards, first + window_shards); ++s) {
        const fs::path file = token_shard_path(tokens, s), table = contexts / file.filename();
        if (!fs::exists(file, ignored) || !fs::exists(table, ignored)) return std::nullopt;
        const auto shard = static_cast<std::uint32_t>(s);
        rows += sum(rows_of_shard(shard, ContextTable(table, {}, TableFile::Checks::whole_file),
                                  rule, config.store.seed));
      }
    }
  } catch (const DataError&) {
    return std::nullopt;
  }
  return rows;
}

void check_rows(const RunConfig& config, std::uint64_t rows) {
  const std::uint64_t wanted = wanted_rows(config), batch = config.train.batch_rows;
  if (wanted == 0 && rows < batch)
    throw DataError(
        "the corpus gives {} rows to train on, fewer than one batch of {} ({}). Add shards to "
        "source.from or lower train.batch_rows.",
        rows, batch, where_given(config, "train.batch_rows"));
  if (rows / batch < wanted / batch)  // the schedules count whole batches
    throw DataError(
        "{}: train.tokens is {}, but the corpus gives {} rows to train on. Lower train.tokens to "
        "that or to all, or add shards to source.from.",
        where_given(config, "train.tokens"), wanted, rows);
}

// What is certain: the shards as they are, and the rows that a number asks for.
void check_quota(const RunConfig& config, const ModelInfo& model, const DownloadPlan& corpus) {
  std::uint64_t bytes = 0;
  for (const ShardRef& shard : corpus.shards) bytes += shard.bytes;
  const std::uint64_t wanted = wanted_rows(config);
  if (wanted != 0) bytes = 0;  // it may need the first shards alone
  const std::uint64_t chunks = std::max<std::uint64_t>(1, wanted / config.store.chunk_rows);
  check_disk(plan_disk(config, model, bytes, chunks, chunks * config.train.corpus_passes), config);
}

}  // namespace

ContextRule context_rule(const RunConfig& config, const ModelInfo& model) {
  if (config.tokens.context > model.max_positions)
    throw ConfigError(
        "{}: tokens.context is {}, but the model has {} positions. Lower tokens.context.",
        where_given(config, "tokens.context"), config.tokens.context, model.max_positions);
  const std::int64_t bos = model.bos_id >= 0 ? model.bos_id : model.eos_id;
  const bool has_row = bos >= 0 && bos < static_cast<std::int64_t>(model.vocab);
  if (config.tokens.bos != "none" && bos < 0)
    throw ConfigError(
        "{}: tokens.bos is '{}', but the model's config.json names neither bos_token_id nor "
        "eos_token_id. Set tokens.bos to none.",
        where_given(config, "tokens.bos"), config.tokens.bos);
  if (config.tokens.bos != "none" && !has_row)
    throw DataError(
        "config.json of {} gives {} {}, beyond its {} embeddings. Correct it, or set tokens.bos to "
        "none.",
        model_folder(config).string(), model.bos_id >= 0 ? "bos_token_id" : "eos_token_id", bos,
        model.vocab);
  return {.length = config.tokens.context,
          .packing = packing_from(config.tokens.packing),
          .bos = bos_rule_from(config.tokens.bos),
          .bos_id = has_row ? static_cast<std::uint32_t>(bos) : 0};
}

std::unique_ptr<Tokenizer> open_tokenizer(const RunConfig& config, const ModelInfo& model) {
  const fs::path folder = model_folder(config);
  std::unique_ptr<Tokenizer> tokenizer =
      load_tokenizer(folder, static_cast<std::uint32_t>(model.vocab));
  if (tokenizer->size() > model.vocab)
    throw DataError(
        "tokenizer and model do not belong together: tokenizer.json has ids up to {}, the model "
        "has {} embeddings ({})",
        tokenizer->size() - 1, model.vocab, folder.string());
  return tokenizer;
}

fs::path contexts_folder(const RunConfig& config, const ContextRule& rule,
                         const TokenizePlan& tokens) {
  const std::string digest = short_digest(fmt::format(
      "contexts {}\nlength={}\npacking={}\nbos={}\nbos_id={}\nheldout={}\nduplicates=highest "
      "revision, lowest shard\ntokens={}\n",
      kSchemaVersion, rule.length, config.tokens.packing, config.tokens.bos, rule.bos_id,
      config.heldout.share, tokens.digest));
  return tokens.folder / ("contexts-" + digest);
}

std::string window_name(const RunConfig& config, std::uint64_t window) {
  return fmt::format(
      "window-{:03}-{}.h5", window,
      short_digest(fmt::format("order {}\nseed={}\nwindow_shards={}\ntake={}\n", kSchemaVersion,
                               config.store.seed, config.tokens.window_shards, config.rows.take)));
}

// Baselines that are fitted need more rows than dimensions; a run would say so only at its end.
void check_baseline_rows(const RunConfig& config, const ModelInfo& model) {
  const std::uint64_t rows = std::min(config.evaluate.baseline_rows, config.probe.tokens);
  for (const std::string& name : config.evaluate.baselines) {
    const auto row = std::ranges::find(baseline_table(), name, &BaselineRow::name);
    if (row == baseline_table().end() || !row->needs_rows || rows >= model.d_model) continue;
    const bool kept = config.probe.tokens < config.evaluate.baseline_rows;
    const std::string key = kept ? "probe.tokens" : "evaluate.baseline_rows";
    throw ConfigError(
        "{}: {} is {}, but the baseline {} is fitted to training rows and needs at least as many "
        "as the {} dimensions. Raise it, or leave {} out of evaluate.baselines.",
        where_given(config, key), key, rows, name, model.d_model, name);
  }
}

// Not wrong, but seldom meant.
void say_odd_tokens(const RunConfig& config, const Tokenizer& tokenizer, const ContextRule& rule,
                    const ModelInfo& model) {
  const std::string bos =
      fmt::format("config.json of {} gives {} {}", model_folder(config).string(),
                  model.bos_id >= 0 ? "bos_token_id" : "eos_token_id", rule.bos_id);
  if (config.tokens.bos != "none" && rule.bos_id >= tokenizer.size())
    warn(fmt::format(
        "{}, which its tokenizer has not. Set tokens.bos to none if the model has no BOS", bos));
  else if (config.tokens.bos != "none" && !tokenizer.is_added(rule.bos_id))
    warn(fmt::format(
        "{}, which is '{}', an ordinary word of the tokenizer: documents will begin with it. Set "
        "tokens.bos to none if the model has no BOS",
        bos, tokenizer.decode_bytes(rule.bos_id)));
  if (const auto left_out = tokenizer.left_out(); !left_out.empty())
    say(fmt::format("the model has {} embeddings, so where the corpus holds {} it is ordinary text",
                    model.vocab, fmt::join(left_out, ", ")));
}

KnownBefore check_before_start(const RunConfig& config, const DownloadPlan& corpus, Asks asks) {
  const fs::path folder = model_folder(config);
  KnownBefore known{read_model_info(folder), std::nullopt};
  const ContextRule rule = context_rule(config, known.model);
  const std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(config, known.model);
  say_odd_tokens(config, *tokenizer, rule, known.model);
  if (asks == Asks::corpus) return known;
  check_model(config, folder);
  check_baseline_rows(config, known.model);
  if (!corpus.digest.empty()) {
    const TokenizePlan tokens =
        plan_tokenize(config.source, corpus, *tokenizer, config.data_root, config.tokens.keep_text);
    known.corpus_rows = known_rows(config, tokens, contexts_folder(config, rule, tokens));
  }
  // A run that has trained what there is says so itself, at its end.
  const bool trained = !read_ledger(run_folder(config.run, "").ledger()).checkpoints.empty();
  if (known.corpus_rows && !trained) check_rows(config, *known.corpus_rows);
  check_quota(config, known.model, corpus);
  return known;
}

bool store_exists(const RunFolder& folder, const RunState& state) {
  std::error_code ignored;
  return fs::exists(folder.calibration(), ignored) || !state.calibration.empty();
}

void expect_same_run(const RunConfig& config, int training_ranks) {
  const RunFolder named = run_folder(config.run, "");
  std::error_code ignored;
  if (!fs::exists(named.run_yaml(), ignored)) return;
  const RunState state = read_ledger(named.ledger());
  const FrozenRun frozen = read_frozen(named.run_yaml());
  const bool stored = store_exists(run_folder(config.run, frozen.inputs.model_name), state);
  std::string difference = frozen_difference(frozen.config, config, stored, false);
  if (difference.empty() && stored) {
    const DownloadPlan now = plan_download(config.source, config.data_root, Digests::known);
    if (!now.digest.empty()) difference = corpus_difference(named.corpus(), now);
  }
  const bool trained = !state.checkpoints.empty();
  if (difference.empty()) difference = frozen_difference(frozen.config, config, false, trained);
  if (!difference.empty()) throw other_configuration(config.run, difference);
  if (!trained || training_ranks == 0) return;
  Numerics now = current_numerics(config, read_model_info(model_folder(config)), training_ranks);
  now.device = frozen.numerics.device;  // what the job's nodes have is not known here
  difference = training_difference(frozen.numerics, now);
  if (!difference.empty()) throw other_numerics(config.run, difference);
}

}  // namespace refract
