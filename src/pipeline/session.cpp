#include "refract/pipeline/session.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"

namespace refract {

Session::Session(RunConfig config, Communicator& world)
    : config_(std::move(config)), world_(world),
      folder_(run_folder(config_.run, model_display_name(config_.model))),
      row_rule_(parse_row_rule(config_.rows.take)) {
  for (const std::string& hook : config_.hooks) hooks_.push_back(parse_hook_point(hook));
}

const ModelInfo& Session::model_info() {
  if (!model_info_) model_info_ = std::make_unique<ModelInfo>(read_model_info(model_folder(config_)));
  return *model_info_;
}

const LanguageModel& Session::model() {
  if (!model_) {
    model_ = load_language_model(model_folder(config_));
    for (const HookPoint hook : hooks_) model_->require(hook);
  }
  return *model_;
}

const Tokenizer& Session::tokenizer() {
  if (!tokenizer_) {
    tokenizer_ = load_tokenizer(model_folder(config_));
    if (tokenizer_->size() > model_info().vocab)
      throw DataError("tokenizer and model do not belong together: tokenizer.json has ids up to {}, the model has {} "
                      "embeddings ({})", tokenizer_->size() - 1, model_info().vocab, model_folder(config_).string());
  }
  return *tokenizer_;
}

std::vector<std::uint8_t> Session::special_ids() {
  std::vector<std::uint8_t> special(tokenizer().size(), 0);
  for (std::uint32_t id = 0; id < special.size(); ++id) special[id] = tokenizer().is_special(id) ? 1 : 0;
  return special;
}

ContextRule Session::context_rule() {
  const ModelInfo& info = model_info();
  if (config_.tokens.context > info.max_positions)
    throw ConfigError("{}: tokens.context is {}, but the model has {} positions. Lower tokens.context.",
                      where_given("tokens.context"), config_.tokens.context, info.max_positions);
  const std::int64_t bos = info.bos_id >= 0 ? info.bos_id : info.eos_id;
  if (bos < 0 && config_.tokens.bos != "none")
    throw ConfigError("{}: tokens.bos is '{}', but the model's config.json names neither bos_token_id nor "
                      "eos_token_id. Set tokens.bos to none.", where_given("tokens.bos"), config_.tokens.bos);
  if (bos >= static_cast<std::int64_t>(info.vocab))
    throw DataError("config.json of {} gives bos_token_id {}, beyond its {} embeddings", model_folder(config_).string(),
                    bos, info.vocab);
  return {.length = config_.tokens.context, .packing = packing_from(config_.tokens.packing),
          .bos = bos_rule_from(config_.tokens.bos), .bos_id = static_cast<std::uint32_t>(std::max<std::int64_t>(0, bos))};
}

bool Session::prepare_shard(const stages::TokenizePlan& plan, std::size_t shard, const fs::path& contexts_folder,
                            std::unordered_set<std::uint64_t>& seen_documents) {
  const stages::TokenizedShard made = stages::tokenize_shard(plan, shard, tokenizer());
  const CorpusShard files{made.path, contexts_folder / made.path.filename()};
  const TokenShard tokens(files.tokens);
  const std::vector<std::uint8_t> keep = keep_documents(tokens.document_keys(), tokens.revisions(), seen_documents);
  const bool fresh = !fs::exists(files.contexts);
  if (fresh) {
    std::vector<std::uint8_t> heldout;
    for (const std::uint64_t key : tokens.document_keys()) heldout.push_back(is_heldout(key, config_.heldout.share) ? 1 : 0);
    write_contexts(files.contexts, build_contexts(context_rule(), tokens.document_token_starts(), keep, heldout),
                   {{"tokens", tokens.content_digest()}});
  }
  corpus_->add_shard(files);
  corpus_bytes_ += fs::file_size(files.tokens) + fs::file_size(files.contexts);
  return fresh || !made.existed;
}

void Session::add_window(std::uint32_t first_shard, std::uint32_t last_shard) {
  std::vector<ContextRef> contexts;
  for (std::uint32_t shard = first_shard; shard < last_shard; ++shard) {
    const ContextTableData& table = corpus_->contexts(shard);
    for (std::uint32_t c = 0; c < table.contexts(); ++c) {
      if (table.heldout[c]) continue;
      ContextRef ref{shard, c, 0};
      ref.rows = static_cast<std::uint32_t>(select_slots(row_rule_, table, c, ref.key(), config_.store.seed).size());
      contexts.push_back(ref);
    }
  }
  if (first_shard == 0) first_window_ = contexts;
  order_->add_window(contexts);
}

bool Session::prepare_corpus() {
  if (order_) return false;
  const ContextRule rule = context_rule();
  const stages::DownloadResult fetched = stages::download(config_.source, config_.data_root);
  const stages::TokenizePlan plan =
      stages::plan_tokenize(config_.source, fetched, tokenizer(), config_.data_root, config_.tokens.keep_text);
  tokens_digest_ = plan.digest;
  contexts_digest_ = short_digest(fmt::format(
      "contexts 1\nlength={}\npacking={}\nbos={}\nbos_id={}\nheldout={}\nduplicates=highest revision, lowest shard\n"
      "tokens={}\n", rule.length, config_.tokens.packing, config_.tokens.bos, rule.bos_id, config_.heldout.share,
      plan.digest));
  const fs::path contexts_folder = plan.folder / ("contexts-" + contexts_digest_);
  make_folder(contexts_folder);
  for (const stages::FetchedShard& shard : fetched.shards) corpus_bytes_ += shard.bytes;

  corpus_ = std::make_unique<TokenCorpus>(special_ids(), 2 * config_.tokens.window_shards);
  order_ = std::make_unique<SampleOrder>(order_rule(config_), wanted_rows(config_));
  std::unordered_set<std::uint64_t> seen_documents;
  bool made = fetched.fetched > 0;
  const std::size_t shards = plan.shards.size();
  for (std::size_t first = 0; first < shards && !order_->complete(); first += config_.tokens.window_shards) {
    const std::size_t last = std::min<std::size_t>(shards, first + config_.tokens.window_shards);
    for (std::size_t shard = first; shard < last; ++shard) {
      if (stop_requested()) throw StopRequested("stopped by a signal while tokenizing; start again to go on");
      made |= prepare_shard(plan, shard, contexts_folder, seen_documents);
      shard_names_.push_back(plan.shards[shard].name);
    }
    add_window(static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(last));
  }
  order_->end_of_corpus();
  if (order_->chunks() == 0)
    throw DataError("the corpus gives {} rows to train on, fewer than one batch of {}. Add shards to source.from or "
                    "lower train.batch_rows.", order_->rows(), config_.train.batch_rows);
  return made;
}

std::vector<double> Session::sink_thresholds() const {
  std::vector<double> thresholds;
  for (const std::string& hook : config_.hooks) thresholds.push_back(calibration().of(hook).sink_threshold);
  return thresholds;
}

HeldoutPlan Session::heldout_plan() {
  return plan_heldout(config_.heldout, *corpus_, config_.tokens.window_shards, row_rule_, config_.store.seed,
                      config_.store.block_rows);
}

void Session::collective_write_heldout() {
  const HeldoutPlan plan = heldout_plan();
  if (plan.rows == 0)
    throw DataError("no held-out document fits heldout.rows ({}) and heldout.max_tokens ({}). Raise them or "
                    "heldout.share.", config_.heldout.rows, config_.heldout.max_tokens);
  ChunkSpec spec = chunk_spec({.rows = plan.rows, .block_rows = config_.store.block_rows});
  spec.permuted = false;
  ChunkWriter writer = ChunkWriter::collective_open(folder_.heldout(), spec, world_);
  BlockComputer computer(model(), hooks_, *corpus_, sink_thresholds());
  Stream stream;
  const Share share = share_of(plan.blocks.size(), world_.rank(), world_.size());
  Progress progress("held-out rows", plan.rows, "rows", world_.rank() != 0);
  for (std::uint64_t b = share.first; b < share.first + share.count; ++b) {
    if (std::ranges::binary_search(writer.good_blocks(), b)) continue;
    if (stop_requested()) throw StopRequested("stopped by a signal; start again to go on");
    const BlockRows rows = computer.compute(plan.blocks[b], stream);
    std::vector<HookRows> hooks;
    for (std::size_t h = 0; h < hooks_.size(); ++h) hooks.push_back({rows.activations[h].span(), rows.sinks[h]});
    writer.write_block(b, rows.identity, hooks);
    progress.advance(rows.identity.size());
  }
  progress.finish();
  writer.collective_seal();
  if (world_.rank() == 0)
    say(fmt::format("held out: {} rows of {} documents ({} further held-out documents unused)", plan.rows,
                    plan.documents, plan.unused_documents));
}

bool Session::prepare_store() {
  if (!store_digest_.empty()) return false;
  make_folder(folder_.store);
  const std::string settings = fmt::format("store 1\nmodel={}\ntokens={}\ncontexts={}\n{}", model_info().digest,
                                           tokens_digest_, contexts_digest_, as_text(store_settings(config_)));
  const std::string settings_digest = short_digest(settings);
  bool made = false;
  if (!fs::exists(folder_.calibration())) {
    made = true;
    const CalibrationData data =
        calibrate(config_.calibration, model(), hooks_, *corpus_, first_window_, row_rule_, config_.rows.sink_ratio,
                  config_.train.input_scale, config_.store.seed);
    if (world_.rank() == 0) write_calibration(folder_.calibration(), data, {{"settings", settings_digest}});
    world_.barrier();
  }
  calibration_ = read_calibration(folder_.calibration(), {{"settings", settings_digest}});
  store_digest_ = refract::store_digest(settings, calibration_.content_digest);
  if (!fs::exists(folder_.heldout())) {
    made = true;
    collective_write_heldout();
  }
  return made;
}

std::uint64_t Session::visits() const { return order_->chunks() * config_.train.corpus_passes; }

std::uint64_t Session::total_steps() const {
  const std::uint64_t wanted = wanted_rows(config_);
  const std::uint64_t batches = wanted ? wanted / config_.train.batch_rows : order_->batches_per_pass();
  return batches * config_.train.passes_per_chunk * config_.train.corpus_passes;
}

ChunkVisit Session::visit(std::uint64_t visit) const {
  return {.shape = order_->chunk_shape(visit % order_->chunks()), .corpus_pass = visit / order_->chunks()};
}

ChunkSpec Session::chunk_spec(const ChunkShape& shape) const {
  ChunkSpec spec{.chunk = shape.chunk, .permuted = true, .rows = shape.rows, .block_rows = shape.block_rows,
                 .dtype = dtype_from_name(config_.store.dtype), .hooks = {}, .stage = "extract",
                 .parents = {{"store", store_digest_}}};
  for (const std::string& hook : config_.hooks) spec.hooks.push_back({hook, calibration().of(hook).d_in});
  return spec;
}

std::string Session::training_digest(std::size_t sae) const {
  return short_digest(fmt::format("sae 1\nstore={}\n{}", store_digest_, as_text(training_settings(config_, sae))));
}

}  // namespace refract
