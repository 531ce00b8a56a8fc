#include "refract/pipeline/session.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"
#include "refract/pipeline/identity.hpp"
#include "refract/stages/claimed.hpp"

namespace refract {

Session::Session(RunConfig config, Communicator& world)
    : config_(std::move(config)),
      world_(world),
      folder_(run_folder(config_.run, model_display_name(config_.model))),
      row_rule_(parse_row_rule(config_.rows.take)) {
  for (const std::string& hook : config_.hooks) hooks_.push_back(parse_hook_point(hook));
}

const ModelInfo& Session::model_info() {
  if (!model_info_)
    model_info_ = std::make_unique<ModelInfo>(read_model_info(model_folder(config_)));
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
      throw DataError(
          "tokenizer and model do not belong together: tokenizer.json has ids up to {}, the model "
          "has {} embeddings ({})",
          tokenizer_->size() - 1, model_info().vocab, model_folder(config_).string());
  }
  return *tokenizer_;
}

std::vector<std::uint8_t> Session::special_ids() {
  std::vector<std::uint8_t> special(tokenizer().size(), 0);
  for (std::uint32_t id = 0; id < special.size(); ++id)
    special[id] = tokenizer().is_special(id) ? 1 : 0;
  return special;
}

ContextRule Session::context_rule() {
  const ModelInfo& info = model_info();
  if (config_.tokens.context > info.max_positions)
    throw ConfigError(
        "{}: tokens.context is {}, but the model has {} positions. Lower tokens.context.",
        where_given("tokens.context"), config_.tokens.context, info.max_positions);
  const std::int64_t bos = info.bos_id >= 0 ? info.bos_id : info.eos_id;
  if (bos < 0 && config_.tokens.bos != "none")
    throw ConfigError(
        "{}: tokens.bos is '{}', but the model's config.json names neither bos_token_id nor "
        "eos_token_id. Set tokens.bos to none.",
        where_given("tokens.bos"), config_.tokens.bos);
  if (bos >= static_cast<std::int64_t>(info.vocab))
    throw DataError("config.json of {} gives bos_token_id {}, beyond its {} embeddings",
                    model_folder(config_).string(), bos, info.vocab);
  return {.length = config_.tokens.context,
          .packing = packing_from(config_.tokens.packing),
          .bos = bos_rule_from(config_.tokens.bos),
          .bos_id = static_cast<std::uint32_t>(std::max<std::int64_t>(0, bos))};
}

void Session::collective_open_corpus() {
  const ContextRule rule = context_rule();
  // One listing for all: a source may be remote, and must look the same to every rank.
  std::string listed;
  if (world_.rank() == 0) listed = to_text(plan_download(config_.source, config_.data_root));
  world_.broadcast_string(listed, 0);
  download_plan_ = download_plan_from_text(listed);
  tokenize_plan_ = plan_tokenize(config_.source, download_plan_, tokenizer(), config_.data_root,
                                 config_.tokens.keep_text);
  contexts_digest_ = short_digest(fmt::format(
      "contexts 1\nlength={}\npacking={}\nbos={}\nbos_id={}\nheldout={}\nduplicates=highest "
      "revision, lowest shard\n"
      "tokens={}\n",
      rule.length, config_.tokens.packing, config_.tokens.bos, rule.bos_id, config_.heldout.share,
      tokenize_plan_.digest));
  contexts_folder_ = tokenize_plan_.folder / ("contexts-" + contexts_digest_);
  if (world_.rank() == 0) make_folder(contexts_folder_);
  corpus_ = std::make_unique<TokenCorpus>(special_ids(), 2 * config_.tokens.window_shards);
  order_ = std::make_unique<SampleOrder>(order_rule(config_), wanted_rows(config_));
  world_.barrier();
}

bool Session::download_shard(std::uint64_t shard, const std::function<void()>& tick) {
  return fetch_shard(download_plan_, shard, Verify::once, [&](std::uint64_t) { tick(); }).fetched;
}

bool Session::tokenize_shard(std::uint64_t shard, const std::function<void()>& tick) {
  return !refract::tokenize_shard(tokenize_plan_, shard, tokenizer(), tick).existed;
}

void Session::end_download() { write_index(download_plan_); }

CorpusShard Session::files_of(std::uint64_t shard) const {
  const fs::path tokens = token_shard_path(tokenize_plan_, shard);
  return {tokens, contexts_folder_ / tokens.filename()};
}

bool Session::admit_next_shard() {
  const CorpusShard files = files_of(admitted());
  const TokenShard tokens(files.tokens);
  const std::vector<std::uint8_t> keep =
      keep_documents(tokens.document_keys(), tokens.revisions(), seen_documents_);
  const Claim claim = claim_of(files.contexts, "contexts", {});
  const bool fresh = !fs::exists(files.contexts);
  if (fresh) {
    std::vector<std::uint8_t> heldout;
    for (const std::uint64_t key : tokens.document_keys())
      heldout.push_back(is_heldout(key, config_.heldout.share) ? 1 : 0);
    write_contexts(files.contexts,
                   build_contexts(context_rule(), tokens.document_token_starts(), keep, heldout),
                   {{"tokens", tokens.content_digest()}}, claim.mark());
  }
  admit_shards(admitted() + 1);
  return fresh;
}

void Session::admit_shards(std::uint64_t shards) {
  while (admitted() < shards) admit(admitted());
}

void Session::admit(std::uint64_t shard) {
  const CorpusShard files = files_of(shard);
  corpus_->add_shard(files);
  shard_bytes_.push_back(
      fetched_shard(download_plan_.folder, download_plan_.shards[shard].name).bytes +
      fs::file_size(files.tokens) + fs::file_size(files.contexts));
  const std::uint64_t known = shard + 1, window = config_.tokens.window_shards;
  if (known % window != 0 && known != shards()) return;
  add_window(static_cast<std::uint32_t>((known - 1) / window * window),
             static_cast<std::uint32_t>(known));
  if (known == shards()) order_->end_of_corpus();
  if (order_->complete() && order_->chunks() == 0)
    throw DataError(
        "the corpus gives {} rows to train on, fewer than one batch of {}. Add shards to "
        "source.from or lower train.batch_rows.",
        order_->rows(), config_.train.batch_rows);
}

std::uint64_t Session::corpus_bytes() const {
  std::uint64_t sum = 0;
  const std::uint64_t wanted = wanted_rows(config_);
  const std::size_t counted =
      wanted ? std::min<std::size_t>(shard_bytes_.size(), config_.tokens.window_shards)
             : shard_bytes_.size();
  for (std::size_t s = 0; s < counted; ++s) sum += shard_bytes_[s];
  if (wanted <= first_window_rows_ || first_window_rows_ == 0) return sum;
  return static_cast<std::uint64_t>(static_cast<double>(sum) * static_cast<double>(wanted) /
                                    static_cast<double>(first_window_rows_));
}

std::vector<std::string> Session::shard_names() const {
  std::vector<std::string> names;
  for (std::size_t s = 0; s < corpus_->shards(); ++s)
    names.push_back(tokenize_plan_.shards[s].name);
  return names;
}

void Session::add_window(std::uint32_t first_shard, std::uint32_t last_shard) {
  std::vector<ContextRef> contexts;
  for (std::uint32_t shard = first_shard; shard < last_shard; ++shard) {
    const ContextTableData& table = corpus_->contexts(shard);
    for (std::uint32_t c = 0; c < table.contexts(); ++c) {
      if (table.heldout[c]) continue;
      ContextRef ref{shard, c, 0};
      ref.rows = static_cast<std::uint32_t>(
          select_slots(row_rule_, table, c, ref.key(), config_.store.seed).size());
      contexts.push_back(ref);
    }
  }
  if (first_shard == 0) {
    for (const ContextRef& context : contexts) first_window_rows_ += context.rows;
    first_window_ = contexts;
  }
  order_->add_window(contexts);
}

std::vector<double> Session::sink_thresholds() const {
  std::vector<double> thresholds;
  for (const std::string& hook : config_.hooks)
    thresholds.push_back(calibration().of(hook).sink_threshold);
  return thresholds;
}

HeldoutPlan Session::heldout_plan() {
  return plan_heldout(config_.heldout, *corpus_, config_.tokens.window_shards, row_rule_,
                      config_.store.seed, config_.store.block_rows);
}

void Session::collective_write_heldout(Communicator& ranks) {
  const HeldoutPlan plan = heldout_plan();
  if (plan.rows == 0)
    throw DataError(
        "no held-out document fits heldout.rows ({}) and heldout.max_tokens ({}). Raise them or "
        "heldout.share.",
        config_.heldout.rows, config_.heldout.max_tokens);
  ChunkSpec spec = chunk_spec({.rows = plan.rows, .block_rows = config_.store.block_rows});
  spec.permuted = false;
  ChunkWriter writer = ChunkWriter::collective_open(folder_.heldout(), spec, ranks);
  BlockComputer computer(model(), hooks_, *corpus_, sink_thresholds());
  Stream stream;
  const Share share = share_of(plan.blocks.size(), ranks.rank(), ranks.size());
  Progress progress("held-out rows", plan.rows, "rows", ranks.rank() != 0);
  for (std::uint64_t b = share.first; b < share.first + share.count; ++b) {
    if (stop_requested()) break;
    if (std::ranges::binary_search(writer.good_blocks(), b)) continue;
    const BlockRows rows = computer.compute(plan.blocks[b], stream);
    std::vector<HookRows> hooks;
    for (std::size_t h = 0; h < hooks_.size(); ++h)
      hooks.push_back({rows.activations[h].span(), rows.sinks[h]});
    writer.write_block(b, rows.identity, hooks);
    progress.advance(rows.identity.size() * static_cast<std::uint64_t>(ranks.size()));
  }
  progress.finish();
  if (ranks.all_reduce_max(stop_requested() ? 1 : 0)) {
    writer.collective_close();
    throw StopRequested("stopped by a signal; start again to go on");
  }
  writer.collective_seal();
  if (ranks.rank() == 0)
    say(fmt::format("held out: {} rows of {} documents ({} further held-out documents unused)",
                    plan.rows, plan.documents, plan.unused_documents));
}

std::string Session::store_settings_text() {
  return fmt::format("store 1\nmodel={}\ntokens={}\ncontexts={}\n{}", model_info().digest,
                     tokenize_plan_.digest, contexts_digest_, as_text(store_settings(config_)));
}

bool Session::store_exists() const {
  return fs::exists(folder_.calibration()) && fs::exists(folder_.heldout());
}

void Session::open_store() {
  if (store_is_open()) return;
  const std::string settings = store_settings_text();
  calibration_ = read_calibration(folder_.calibration(), {{"settings", short_digest(settings)}});
  store_digest_ = refract::store_digest(settings, calibration_.content_digest);
}

bool Session::collective_prepare_store(Communicator& ranks) {
  const bool made = !store_exists();
  if (ranks.rank() == 0) make_folder(folder_.store);
  const auto is_missing = [&](const fs::path& file) {
    return ranks.all_reduce_max(fs::exists(file) ? 0 : 1) != 0;
  };
  if (is_missing(folder_.calibration())) {
    const CalibrationData data = collective_calibrate(
        config_.calibration, model(), hooks_, *corpus_, first_window_, row_rule_,
        config_.rows.sink_ratio, config_.train.input_scale, config_.store.seed, ranks);
    if (ranks.rank() == 0)
      write_calibration(folder_.calibration(), data,
                        {{"settings", short_digest(store_settings_text())}});
  }
  ranks.barrier();
  open_store();
  if (is_missing(folder_.heldout())) collective_write_heldout(ranks);
  ranks.barrier();
  return made;
}

std::uint64_t Session::train_rows() const {
  const std::uint64_t wanted = wanted_rows(config_);
  return wanted ? wanted / config_.train.batch_rows * config_.train.batch_rows : order_->rows();
}

std::uint64_t Session::chunks() const {
  if (order_->complete()) return order_->chunks();
  const std::uint64_t wanted = wanted_rows(config_);
  return wanted ? (train_rows() + config_.store.chunk_rows - 1) / config_.store.chunk_rows : 0;
}

std::uint64_t Session::visits() const { return chunks() * config_.train.corpus_passes; }

std::uint64_t Session::total_steps() const {
  const std::uint64_t wanted = wanted_rows(config_);
  const std::uint64_t batches =
      wanted ? wanted / config_.train.batch_rows : order_->batches_per_pass();
  return batches * config_.train.passes_per_chunk * config_.train.corpus_passes;
}

ChunkVisit Session::visit(std::uint64_t visit) const {
  return {.shape = order_->chunk_shape(visit % chunks()), .corpus_pass = visit / chunks()};
}

ChunkSpec Session::chunk_spec(const ChunkShape& shape) const {
  ChunkSpec spec{.chunk = shape.chunk,
                 .permuted = true,
                 .rows = shape.rows,
                 .block_rows = shape.block_rows,
                 .dtype = dtype_from_name(config_.store.dtype),
                 .hooks = {},
                 .stage = "extract",
                 .parents = {{"store", store_digest_}}};
  for (const std::string& hook : config_.hooks)
    spec.hooks.push_back({hook, calibration().of(hook).d_in});
  return spec;
}

std::string Session::training_digest(std::size_t sae) const {
  return short_digest(
      fmt::format("sae 1\nstore={}\n{}", store_digest_, as_text(training_settings(config_, sae))));
}

}  // namespace refract
