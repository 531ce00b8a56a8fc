#include "refract/pipeline/run_corpus.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "refract/base/activity.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/pipeline/preflight.hpp"
#include "refract/pipeline/run_registry.hpp"

namespace refract {
namespace {

std::vector<std::uint8_t> special_ids(const Tokenizer& tokenizer) {
  std::vector<std::uint8_t> special(tokenizer.size(), 0);
  for (std::uint32_t id = 0; id < special.size(); ++id)
    special[id] = tokenizer.is_special(id) ? 1 : 0;
  return special;
}

OrderRule rule_of(const RunConfig& config, bool trains) {
  OrderRule rule = order_rule(config);
  if (!trains) rule.batch_rows = rule.blocks();  // the smallest: tokens need no batch
  return rule;
}

// What is there and may be used as open() opens it; nothing when it has to be made (again): it is
// derived, so also where it was made from a token shard or tables that have been made anew since.
template <typename Open>
auto usable(const fs::path& file, Open&& open) -> std::optional<decltype(open())> {
  if (!fs::exists(file)) return std::nullopt;
  try {
    return open();
  } catch (const DataError& error) {
    warn(fmt::format("{}; it is made again", error.what()));
  }
  return std::nullopt;
}

// The file as open() opens it, made by make(claim) where it is not usable: by one job at a time,
// and by this one only if no other did meanwhile. A stop asked for while another makes it, which is
// soon done, is the coordinator's to see.
template <typename Open, typename Make>
auto open_or_make(const fs::path& file, FileDigests& seen, bool& made, Open&& open, Make&& make) {
  if (auto found = usable(file, open)) return *std::move(found);
  const Claim claim = Claim::wait_for(claim_name(file), job_name(), tick);
  if (auto found = usable(file, open)) return *std::move(found);
  make(claim.mark());
  seen.remember_whole(file);
  made = true;
  return open();
}

}  // namespace

RunCorpus::RunCorpus(Run& run, bool trains)
    : run_(run),
      trains_(trains),
      plan_(plan_tokenize(run.config().source, run.inputs().corpus, run.tokenizer(),
                          run.config().data_root, run.config().tokens.keep_text)),
      context_rule_(context_rule(run.config(), run.model_info())),
      contexts_folder_(contexts_folder(run.config(), context_rule_, plan_)),
      tokens_(special_ids(run.tokenizer()), 2 * run.config().tokens.window_shards),
      order_(rule_of(run.config(), trains), wanted_rows(run.config())),
      seen_files_(run.config().data_root) {}

std::unique_ptr<RunCorpus> RunCorpus::collective_open(Run& run, bool trains) {
  std::unique_ptr<RunCorpus> corpus(new RunCorpus(run, trains));
  if (run.world().rank() == 0) {
    register_run(run.config().data_root, run.folder().root,
                 {run.inputs().corpus.folder, corpus->plan_.folder, corpus->contexts_folder_},
                 tick);
    make_folder(corpus->contexts_folder_);
  }
  run.world().barrier();
  return corpus;
}

bool RunCorpus::download_shard(std::uint64_t shard, const std::function<void()>& tick) {
  return fetch_shard(run_.inputs().corpus, shard, Verify::once, [&](std::uint64_t) { tick(); })
      .fetched;
}

bool RunCorpus::tokenize_shard(std::uint64_t shard, const std::function<void()>& tick) {
  return !refract::tokenize_shard(plan_, shard, run_.tokenizer(), tick).existed;
}

void RunCorpus::end_download() { write_index(run_.inputs().corpus); }

CorpusShard RunCorpus::files_of(std::uint64_t shard) const {
  const fs::path tokens = token_shard_path(plan_, shard);
  return {tokens, contexts_folder_ / tokens.filename()};
}

fs::path RunCorpus::window_file(std::uint64_t window) const {
  return contexts_folder_ / window_name(run_.config(), window);
}

// The documents of the shards before are looked up only where a table has to be made.
bool RunCorpus::make_contexts(std::uint64_t shard, const CorpusShard& files,
                              const TokenShard& tokens) {
  const Parents parents{{"tokens", tokens.content_digest()}};
  bool made = false;
  const ContextTable table = open_or_make(
      files.contexts, seen_files_, made,
      [&] { return ContextTable(files.contexts, parents, seen_files_); },
      [&](const ClaimMark& claim) {
        for (; seen_shards_ < shard; ++seen_shards_)
          seen_documents_.add(TokenShard(files_of(seen_shards_).tokens).document_keys());
        const std::vector<std::uint64_t> keys = tokens.document_keys();
        std::vector<std::uint8_t> heldout;
        for (const std::uint64_t key : keys)
          heldout.push_back(is_heldout(key, run_.config().heldout.share) ? 1 : 0);
        write_contexts(
            files.contexts,
            build_contexts(context_rule_, tokens.document_token_starts(),
                           keep_documents(keys, tokens.revisions(), seen_documents_), heldout),
            parents, claim);
      });
  table_digests_.push_back(table.content_digest());
  return made;
}

bool RunCorpus::admit_next_shard() {
  const std::uint64_t shard = admitted(), window_shards = run_.config().tokens.window_shards;
  const CorpusShard files = files_of(shard);
  bool made = make_contexts(shard, files, TokenShard(files.tokens));
  tokens_.add_shard(files);
  const std::uint64_t bytes =
      fetched_shard(run_.inputs().corpus.folder, run_.inputs().corpus.shards[shard].name).bytes +
      fs::file_size(files.tokens) + fs::file_size(files.contexts);
  shard_bytes_ += bytes;
  if (shard < window_shards) first_window_bytes_.push_back(bytes);
  if (admitted() % window_shards == 0 || admitted() == shards())
    made |= admit_window(shard / window_shards);
  return made;
}

bool RunCorpus::admit_window(std::uint64_t window) {
  const fs::path file = window_file(window);
  std::string tables;
  for (const std::string& digest : table_digests_) tables += digest + "\n";
  const Parents parents{{"contexts", short_digest(tables)}};
  table_digests_.clear();
  bool made = false;
  const Window order = open_or_make(
      file, seen_files_, made, [&] { return Window(file, parents, seen_files_); },
      [&](const ClaimMark& claim) {
        const RunConfig& config = run_.config();
        std::vector<ShardRows> rows;
        for (std::uint64_t s = window * config.tokens.window_shards; s < admitted(); ++s) {
          const auto shard = static_cast<std::uint32_t>(s);
          rows.push_back(
              rows_of_shard(shard, tokens_.contexts(shard), run_.row_rule(), config.store.seed));
        }
        write_window(file, order_window(rows, config.store.seed, window), window, parents, claim);
      });
  add_window(window, order.rows());
  return made;
}

void RunCorpus::add_window(std::uint64_t window, std::uint64_t rows) {
  tokens_.add_window(window_file(window));
  order_.add_window(rows);
  window_rows_.push_back(rows);
  // By its number: a rank that is told of several windows at once has admitted their shards
  // already.
  if ((window + 1) * run_.config().tokens.window_shards >= shards()) order_.end_of_corpus();
  if (trains_ && order_.complete() && order_.chunks() == 0)
    throw DataError(
        "the corpus gives {} rows to train on, fewer than one batch of {}. Add shards to "
        "source.from or lower train.batch_rows.",
        order_.rows(), run_.config().train.batch_rows);
}

Admitted RunCorpus::admitted_since(std::uint64_t known) const {
  return {.shards = admitted(),
          .window_rows = {window_rows_.begin() + static_cast<std::ptrdiff_t>(known),
                          window_rows_.end()},
          .first_window = known};
}

void RunCorpus::admit(const Admitted& news) {
  while (admitted() < news.shards) tokens_.add_shard(files_of(admitted()));
  for (std::size_t i = 0; i < news.window_rows.size(); ++i)
    if (const std::uint64_t window = news.first_window + i; window == window_rows_.size())
      add_window(window, news.window_rows[i]);
}

HeldoutPlan RunCorpus::plan_heldout() {
  const RunConfig& config = run_.config();
  return refract::plan_heldout(config.heldout, tokens_, config.tokens.window_shards,
                               run_.row_rule(), config.store.seed, config.store.block_rows);
}

std::uint64_t RunCorpus::bytes() const {
  const std::uint64_t wanted = wanted_rows(run_.config());
  if (wanted == 0) return shard_bytes_;
  std::uint64_t sum = 0;
  for (const std::uint64_t bytes : first_window_bytes_) sum += bytes;
  const std::uint64_t rows = window_rows_.empty() ? 0 : window_rows_.front();
  if (wanted <= rows || rows == 0) return sum;
  return static_cast<std::uint64_t>(static_cast<double>(sum) * static_cast<double>(wanted) /
                                    static_cast<double>(rows));
}

std::string RunCorpus::identity() const {
  return fmt::format("tokens={}\ncontexts={}\nshards={}\n", plan_.digest,
                     contexts_folder_.filename().string(), shards());
}

void RunCorpus::verify(VerifyShare share) const {
  using Checks = TableFile::Checks;
  const auto mine = [&](std::uint64_t item) {
    return item % static_cast<std::uint64_t>(share.size) == static_cast<std::uint64_t>(share.rank);
  };
  for (std::uint64_t shard = 0; shard < admitted(); ++shard) {
    if (!mine(shard)) continue;
    const CorpusShard files = files_of(shard);
    const TokenShard tokens(files.tokens, {}, Checks::whole_file);
    tokens.verify_content(tick);
    (void)ContextTable(files.contexts, {{"tokens", tokens.content_digest()}}, Checks::whole_file);
  }
  for (std::uint64_t window = 0; window < window_rows_.size(); ++window)
    if (mine(window)) (void)Window(window_file(window), {}, Checks::whole_file);
}

}  // namespace refract
