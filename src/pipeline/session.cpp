#include "refract/pipeline/session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "refract/base/activity.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"
#include "refract/pipeline/identity.hpp"
#include "refract/pipeline/numerics.hpp"
#include "refract/pipeline/preflight.hpp"
#include "refract/pipeline/run_registry.hpp"
#include "refract/store/file_digests.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

// The name of the store's folder stays once a store is in it, whatever the model's folder is called
// now: the model is known by its content.
RunFolder folder_of(const RunConfig& config) {
  const RunFolder named = run_folder(config.run, model_display_name(config.model));
  std::error_code ignored;
  if (!fs::exists(named.run_yaml(), ignored)) return named;
  const std::string frozen = read_frozen(named.run_yaml()).inputs.model_name;
  const RunFolder kept = run_folder(config.run, frozen);
  return !frozen.empty() && fs::exists(kept.calibration(), ignored) ? kept : named;
}

std::string to_text(const RunInputs& inputs) {
  return Json{{"model", inputs.model_digest},
              {"token", inputs.claim.token},
              {"own_store", inputs.own_store}}
      .dump();
}

// The corpus and the claim's file hold paths, which JSON may not: the one is sent by itself, the
// other every rank knows.
RunInputs run_inputs_from(const std::string& text, const std::string& corpus,
                          const fs::path& claim) {
  const Json json = Json::parse(text);
  return {.model_digest = json.at("model"),
          .corpus = download_plan_from_text(corpus),
          .claim = {claim, json.at("token")},
          .own_store = json.at("own_store")};
}

}  // namespace

Session::Session(RunConfig config, Communicator& world, bool trains)
    : config_(std::move(config)),
      world_(world),
      folder_(folder_of(config_)),
      row_rule_(parse_row_rule(config_.rows.take)),
      trains_(trains) {
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
  if (!tokenizer_) tokenizer_ = open_tokenizer(config_, model_info());
  return *tokenizer_;
}

std::vector<std::uint8_t> Session::special_ids() {
  std::vector<std::uint8_t> special(tokenizer().size(), 0);
  for (std::uint32_t id = 0; id < special.size(); ++id)
    special[id] = tokenizer().is_special(id) ? 1 : 0;
  return special;
}

ContextRule Session::context_rule() { return refract::context_rule(config_, model_info()); }

RunInputs Session::find_inputs(Asks asks) {
  RunInputs found{
      .model_digest = {}, .corpus = plan_download(config_.source, config_.data_root), .claim = {}};
  (void)check_before_start(config_, found.corpus, asks);
  FileDigests digests(config_.data_root);
  found.model_digest = model_digest(model_folder(config_), [&](const fs::path& file) {
    return digests.sha256(file, stop_point);
  });
  return found;
}

void Session::collective_open(const RunInputs& found) {
  // One listing for all: a source may be remote, and must look the same to every rank.
  std::string text = world_.rank() == 0 ? to_text(found) : std::string();
  std::string corpus = world_.rank() == 0 ? to_text(found.corpus) : std::string();
  world_.broadcast_string(text, 0);
  world_.broadcast_string(corpus, 0);
  inputs_ = run_inputs_from(text, corpus, folder_.lock());
  const ContextRule rule = context_rule();
  tokenize_plan_ = plan_tokenize(config_.source, inputs_.corpus, tokenizer(), config_.data_root,
                                 config_.tokens.keep_text);
  contexts_folder_ = contexts_folder(config_, rule, tokenize_plan_);
  if (world_.rank() == 0) {
    register_run(config_.data_root, folder_.root,
                 {inputs_.corpus.folder, tokenize_plan_.folder, contexts_folder_}, tick);
    make_folder(contexts_folder_);
  }
  corpus_ = std::make_unique<TokenCorpus>(special_ids(), 2 * config_.tokens.window_shards);
  OrderRule order = order_rule(config_);
  if (!trains_) order.batch_rows = order.blocks();  // the smallest: tokens need no batch
  order_ = std::make_unique<SampleOrder>(order, wanted_rows(config_));
  world_.barrier();
}

bool Session::download_shard(std::uint64_t shard, const std::function<void()>& tick) {
  return fetch_shard(inputs_.corpus, shard, Verify::once, [&](std::uint64_t) { tick(); }).fetched;
}

bool Session::tokenize_shard(std::uint64_t shard, const std::function<void()>& tick) {
  return !refract::tokenize_shard(tokenize_plan_, shard, tokenizer(), tick).existed;
}

void Session::end_download() { write_index(inputs_.corpus); }

CorpusShard Session::files_of(std::uint64_t shard) const {
  const fs::path tokens = token_shard_path(tokenize_plan_, shard);
  return {tokens, contexts_folder_ / tokens.filename()};
}

bool Session::contexts_are_whole(const CorpusShard& files, const std::string& tokens) const {
  if (!fs::exists(files.contexts)) return false;
  try {
    (void)read_contexts(files.contexts, {{"tokens", tokens}});
    return true;
  } catch (const Damaged& error) {
    warn(fmt::format("{}; it is made again", error.what()));
  } catch (const OtherSchema& error) {
    warn(fmt::format("{}; it is made again", error.what()));
  }
  return false;
}

void Session::verify_tokens(std::uint64_t shard) const {
  TokenShard(files_of(shard).tokens, {}, TableFile::Checks::whole_file).verify_content(tick);
}

bool Session::admit_next_shard() {
  const CorpusShard files = files_of(admitted());
  const TokenShard tokens(files.tokens);
  const std::vector<std::uint8_t> keep =
      keep_documents(tokens.document_keys(), tokens.revisions(), seen_documents_);
  bool made = false;
  if (!contexts_are_whole(files, tokens.content_digest())) {
    // Its maker is done soon; a stop asked for meanwhile is the coordinator's to see.
    const Claim claim = Claim::wait_for(claim_name(files.contexts), job_name(), tick);
    made = !contexts_are_whole(files, tokens.content_digest());
    std::vector<std::uint8_t> heldout;
    for (const std::uint64_t key : tokens.document_keys())
      heldout.push_back(is_heldout(key, config_.heldout.share) ? 1 : 0);
    if (made)
      write_contexts(files.contexts,
                     build_contexts(context_rule(), tokens.document_token_starts(), keep, heldout),
                     {{"tokens", tokens.content_digest()}}, claim.mark());
  }
  admit_shards(admitted() + 1);
  return made;
}

void Session::admit_shards(std::uint64_t shards) {
  while (admitted() < shards) admit(admitted());
}

void Session::admit(std::uint64_t shard) {
  const CorpusShard files = files_of(shard);
  corpus_->add_shard(files);
  shard_bytes_.push_back(
      fetched_shard(inputs_.corpus.folder, inputs_.corpus.shards[shard].name).bytes +
      fs::file_size(files.tokens) + fs::file_size(files.contexts));
  const std::uint64_t known = shard + 1, window = config_.tokens.window_shards;
  if (known % window != 0 && known != shards()) return;
  add_window(static_cast<std::uint32_t>((known - 1) / window * window),
             static_cast<std::uint32_t>(known));
  if (known == shards()) order_->end_of_corpus();
  if (trains_ && order_->complete() && order_->chunks() == 0)
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
  BlockComputer computer(model(), hooks_, *corpus_, sink_thresholds(), spec.dtype);
  Stream stream;
  const Share share = share_of(plan.blocks.size(), ranks.rank(), ranks.size());
  Progress progress("held-out rows", plan.rows, "rows", ranks.rank() != 0);
  for (std::uint64_t b = share.first; b < share.first + share.count; ++b) {
    if (stop_requested()) break;
    if (std::ranges::binary_search(writer.good_blocks(), b)) continue;
    const BlockRows rows = computer.compute(plan.blocks[b], stream);
    writer.write_block(b, rows.identity, hook_rows(rows));
    progress.advance(rows.identity.size() * static_cast<std::uint64_t>(ranks.size()));
  }
  progress.finish();
  if (ranks.all_reduce_max(stop_requested() ? 1 : 0)) {
    writer.collective_close();
    throw_stopped();
  }
  if (ranks.rank() == 0) expect_own_run();
  writer.collective_seal();
  if (ranks.rank() == 0)
    say(fmt::format(
        "held out: {} rows of {} documents{}", plan.rows, plan.documents,
        plan.limit.empty()
            ? ""
            : fmt::format("; {} further held-out documents unused: the next would exceed {}",
                          plan.unused_documents, plan.limit)));
}

std::string Session::store_settings_text() {
  return fmt::format("store {}\nmodel={}\ntokens={}\ncontexts={}\nshards={}\n{}", kSchemaVersion,
                     inputs_.model_digest, tokenize_plan_.digest,
                     contexts_folder_.filename().string(), shards(),
                     as_text(store_settings(config_)));
}

// `settings` covers all of them; the others are there to be named when they differ.
Parents Session::calibration_parents() {
  return {{"corpus", inputs_.corpus.digest},
          {"model", inputs_.model_digest},
          {"settings", short_digest(store_settings_text())},
          {"tokenizer", tokenizer().digest()}};
}

void Session::open_store() {
  if (store_is_open()) return;
  calibration_ = read_calibration(folder_.calibration(), calibration_parents());
  store_digest_ = refract::store_digest(store_settings_text(), calibration_.content_digest);
}

ChunkReader Session::open_heldout() const {
  return ChunkReader(folder_.heldout(), {{"store", store_digest_}});
}

ChunkReader Session::open_chunk(std::uint64_t chunk) const {
  return ChunkReader(folder_.chunk(chunk), {{"store", store_digest_}});
}

// Rethrows what is not ours to mend.
void Session::say_what_is_made_again(const DataError& error) const {
  const bool damaged = dynamic_cast<const Damaged*>(&error) != nullptr;
  if (!damaged && !inputs_.own_store) throw error;
  warn(damaged ? fmt::format("{}; it is made again", error.what())
               : fmt::format("a file of this store is of another ({}); it is made again",
                             error.what()));
}

bool Session::collective_calibrate_store(Communicator& ranks) {
  bool whole = ranks.rank() != 0;
  if (!whole && fs::exists(folder_.calibration())) {
    try {
      (void)read_calibration(folder_.calibration(), calibration_parents());
      whole = true;
    } catch (const DataError& error) {
      say_what_is_made_again(error);
    }
  }
  if (ranks.all_reduce_max(whole ? 0 : 1) == 0) return false;
  const CalibrationPlan plan =
      plan_calibration(config_.calibration, *corpus_, first_window_, row_rule_, config_.store.seed);
  const CalibrationData data =
      collective_calibrate(plan, model(), hooks_, *corpus_, config_.rows.sink_ratio, ranks);
  if (ranks.rank() == 0) {
    expect_own_run();
    write_calibration(folder_.calibration(), data, calibration_parents());
  }
  ranks.barrier();
  return true;
}

// Each rank its share of the blocks.
bool Session::collective_heldout_is_whole(Communicator& ranks) const {
  std::string damage;
  if (ranks.all_reduce_max(fs::exists(folder_.heldout()) ? 0 : 1) != 0) return false;
  try {
    const ChunkReader heldout = open_heldout();
    const Share share = share_of(heldout.blocks(), ranks.rank(), ranks.size());
    heldout.verify_blocks(share.first, share.count);
  } catch (const DataError& error) {
    damage = error.what();
    say_what_is_made_again(error);
  }
  if (ranks.all_reduce_max(damage.empty() ? 0 : 1) == 0) return true;
  if (ranks.rank() == 0) remove_all_quietly(folder_.heldout());
  ranks.barrier();
  return false;
}

bool Session::collective_prepare_store(Communicator& ranks) {
  if (ranks.rank() == 0) make_folder(folder_.store);
  ranks.barrier();
  bool made = collective_calibrate_store(ranks);
  open_store();
  if (!collective_heldout_is_whole(ranks)) {
    collective_write_heldout(ranks);
    made = true;
  }
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
      fmt::format("sae 2\nstore={}\n{}", store_digest_, as_text(training_settings(config_, sae))));
}

}  // namespace refract
