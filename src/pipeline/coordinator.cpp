#include "pipeline/coordinator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/stop.hpp"
#include "refract/store/chunk.hpp"
#include "refract/store/manifest.hpp"

namespace refract {

using Work = Ticket::Work;

namespace {
constexpr double kTellInterval_s = 1;
}

Coordinator::Coordinator(Session& session, Communicator& world, RolePlan plan, Ledger& ledger,
                         Deadline& deadline, ProgressKeeper& progress, bool only_corpus)
    : session_(session),
      world_(world),
      plan_(std::move(plan)),
      ledger_(ledger),
      deadline_(deadline),
      board_(plan_, monotonic_s()),
      display_(!plan_.split),
      windows_told_(static_cast<std::size_t>(world.size())),
      progress_(progress),
      only_corpus_(only_corpus) {
  const RunConfig& config = session_.config();
  state_.shards = session_.corpus().shards();
  state_.streams = wanted_rows(config) != 0;
  state_.chunk_rows = config.store.chunk_rows;
  state_.may_evict = config.store.mode == "ring";
  saes_ = sae_names(config);
  state_.visits_trained = state_.visits_done = ledger_.state().visits_done(saes_);
  if (!plan_.split)
    corpus_bar_ = std::make_unique<Progress>("download and tokenize", state_.shards, "shards");
}

void Coordinator::poll() {
  if (ended_) return;
  try {
    while (const auto message = world_.try_receive(kToCoordinator)) {
      news_ = true;
      take(*message);
    }
  } catch (const StopRequested&) {  // while it waited for another job; the ranks must hear of it
  }
  if (stop_requested() && !stopping_) stop();
  const bool news = std::exchange(news_, false);
  if (news) hand_out();
  const double now_s = monotonic_s();
  if (news || now_s - told_s_ > kTellInterval_s) tell(now_s);
  display_.draw(board_, state_, now_s);
  if (!running_.empty() || ended_ || state_.visits_done < state_.visits_trained) return;
  ended_ = true;
  evidence_.reset();
  corpus_bar_.reset();
  display_.clear();
  for (int rank = 0; rank < world_.size(); ++rank)
    send_with_corpus(rank, {{"kind", "end"}, {"stopped", stopping_}});
}

// For progress.json. While nothing runs, what ran last stays.
void Coordinator::tell(double now_s) {
  told_s_ = now_s;
  const std::vector<WorkPiece> pieces = board_.at_work(state_, now_s);
  if (stopping_ && pieces.empty()) return;  // the checkpoint of a stop has what they had done
  const TrainConfig& train = session_.config().train;
  const auto known = [](std::uint64_t count) {
    return count > 0 ? std::optional(count) : std::nullopt;
  };
  // Seconds for a chunk, each of its rows so many times.
  const auto unit_s = [&](Role role, std::uint64_t times) -> std::optional<double> {
    const std::optional<double> rate = board_.rows_per_s(role, now_s);
    if (!rate) return std::nullopt;
    return static_cast<double>(state_.chunk_rows * times) / *rate;
  };
  const auto part = [&](std::string_view stage) {
    const auto piece = std::ranges::find(pieces, stage, &WorkPiece::stage);
    return piece == pieces.end() ? 0 : piece->share.value_or(0);
  };
  const std::uint64_t extracted =
      std::max(state_.visits_done, state_.sealed.empty() ? 0 : state_.sealed.back() + 1);
  const auto fill = [&](StageProgress& stage) {
    const bool corpus = stage.stage == "download" || stage.stage == "tokenize";
    if (corpus) {  // a corpus that is long enough needs no further shard
      stage.done = state_.corpus_complete      ? state_.shards
                   : stage.stage == "download" ? state_.downloaded.size()
                                               : state_.tokenized.size();
      stage.of = state_.shards;
    } else if (stage.stage == "extract") {
      stage.of = known(state_.chunks);
      stage.done = std::min(extracted, state_.chunks);
      stage.part = part("extract");
      stage.unit_s = unit_s(Role::extract, 1);
    } else if (stage.stage == "train") {
      stage.of = known(state_.visits);
      stage.done = state_.visits_trained;
      stage.part = part("train");
      stage.unit_s = unit_s(Role::train, train.passes_per_chunk);
    }
  };
  progress_.update([&](ProgressRecord& record) {
    if (!pieces.empty()) record.now = pieces;
    for (StageProgress& stage : record.stages) fill(stage);
    record.rates.clear();
    for (const Role role : {Role::extract, Role::train})
      if (const auto rate = board_.rows_per_s(role, now_s))
        record.rates.emplace_back(name(role), *rate);
  });
  if (state_.first_window)
    progress_.disk_known(session_.corpus().bytes(), ledger_.state().sealed_bytes);
}

void Coordinator::send(int rank, const Json& message) {
  world_.send(rank, kToRank, message.dump());
}

// What was admitted reaches a rank with the message that may need it. World rank 0 admits itself.
void Coordinator::send_with_corpus(int rank, Json message) {
  const RunCorpus& corpus = session_.corpus();
  std::uint64_t& told = windows_told_[static_cast<std::size_t>(rank)];
  message.update(to_json(corpus.admitted_since(told)));
  told = corpus.order().windows();
  send(rank, message);
}

void Coordinator::stop() {
  stopping_ = true;
  for (int rank = 0; rank < world_.size(); ++rank) send(rank, {{"kind", "stop"}});
}

// Groups of ranks announce their own SAEs. What a checkpoint supersedes may go on all of them once
// every SAE of it is in the ledger.
void Coordinator::name_checkpoint(int from, const Json& record) {
  Announced& announced = announced_[record.at("folder")];
  announced.saes += record.at("saes").size();
  announced.ranks.push_back(from);
  if (announced.saes < saes_.size()) return;
  for (const int rank : announced.ranks) send(rank, {{"kind", "named"}});
  announced_.erase(record.at("folder"));
}

void Coordinator::take(const Message& message) {
  const Json json = Json::parse(message.text);
  const std::string kind = json.at("kind");
  if (kind == "done") {
    done(message.from, json);
  } else if (kind == "progress") {
    board_.progressed(ticket_from(json.at("ticket")), json.at("share"), json.at("rows"));
  } else if (kind == "checkpoint") {
    ledger_.checkpointed(checkpoint_record_from(json.at("record").dump()));
    deadline_.checkpoint_took(json.at("took_s"));
    state_.visits_done = ledger_.state().visits_done(saes_);
    state_.visits_trained = std::max(state_.visits_trained, state_.visits_done);
    progressed_ = true;
    name_checkpoint(message.from, json.at("record"));
  } else if (!stopping_) {
    stop();
  }
}

void Coordinator::done(int from, const Json& message) {
  const Ticket ticket = ticket_from(message.at("ticket"));
  const auto running =
      std::ranges::find(running_, ticket, [](const Running& r) { return r.assignment.ticket; });
  REFRACT_ASSERT(running != running_.end(), "rank {} finished {} {}, which was not handed out",
                 from, name(ticket.work), ticket.index);
  if (from == running->assignment.ranks.front()) {
    running->result = message.at("result");
    running->rows = message.at("rows");
  }
  if (++running->reports < running->assignment.ranks.size()) return;
  const Json result = running->result;
  board_.finished(running->assignment, running->rows, monotonic_s());
  running_.erase(running);
  apply(ticket, result);
}

void Coordinator::apply(const Ticket& ticket, const Json& result) {
  progressed_ |= result.value("made", false);
  if (result.value("stopped", false)) return;
  switch (ticket.work) {
    case Work::download:
      state_.downloaded.insert(ticket.index);
      if (state_.downloaded.size() == state_.shards) session_.corpus().end_download();
      break;
    case Work::tokenize:
      state_.tokenized.insert(ticket.index);
      admit();
      break;
    case Work::prepare: open_store(result.at("calibration"), result.at("heldout")); break;
    case Work::extract: seal(ticket.index, result); break;
    case Work::restore:
      for (const Json& withdrawn : result.at("withdrawn"))
        ledger_.withdrawn(checkpoint_record_from(withdrawn.at("record").dump()),
                          withdrawn.at("cause"));
      state_.visits_trained = state_.visits_done = ledger_.state().visits_done(saes_);
      state_.restored = true;
      break;
    case Work::train:
      if (result.value("damaged", false))
        lose(session_.visit(ticket.index).shape.chunk);
      else
        state_.visits_trained = std::max(state_.visits_trained, ticket.index + 1);
      break;
    case Work::evict: break;
  }
}

void Coordinator::admit() {
  while (state_.tokenized.contains(session_.corpus().admitted()) && !session_.corpus().complete()) {
    progressed_ |= session_.corpus().admit_next_shard();
    if (corpus_bar_) corpus_bar_->advance(1);
  }
  state_.rows = session_.corpus().order().rows();
  state_.first_window = session_.corpus().first_window_known();
  if (!session_.corpus().complete() || state_.corpus_complete) return;
  state_.corpus_complete = true;
  corpus_bar_.reset();
  display_.clear();
  if (!only_corpus_) {
    expect_enough_rows();
    const std::uint64_t rows =
        session_.corpus().order().batches_per_pass() * session_.config().train.batch_rows;
    if (ledger_.state().rows != rows || ledger_.state().visits != session_.plan().visits)
      ledger_.ordered(session_.corpus().admitted(), rows, session_.plan().visits);
  }
  say(fmt::format("corpus: {} shards, {} rows to train on in {} chunk(s), {} {}",
                  session_.corpus().admitted(), session_.corpus().order().rows(),
                  session_.corpus().order().chunks(), session_.corpus().order().dropped_rows(),
                  state_.streams ? "left beyond train.tokens" : "dropped (less than a batch)"));
}

// Known before chunk 0 where the corpus is; a corpus that streams may end early later, after sealed
// checkpoints.
void Coordinator::expect_enough_rows() {
  const std::uint64_t wanted = wanted_rows(session_.config());
  const std::uint64_t rows = session_.corpus().order().rows(),
                      batch = session_.config().train.batch_rows;
  if (rows / batch >= wanted / batch || !ledger_.state().checkpoints.empty()) return;
  throw DataError(
      "{}: train.tokens is {}, but the corpus gives {} rows to train on. Lower train.tokens to "
      "that or to all, or add shards to source.from.",
      where_given(session_.config(), "train.tokens"), wanted, rows);
}

void Coordinator::open_store(const std::string& calibration, const std::string& heldout) {
  session_.store().open();
  const RunState& known = ledger_.state();
  const auto expect_same = [&](const fs::path& file, const std::string& was,
                               const std::string& is) {
    if (was.empty() || was == is) return;
    throw DataError(
        "{} is not what this run was made from: the ledger says that its digest is {}, and it is "
        "{}. Either ledger.jsonl is of another run, or the file was lost and, made again, came out "
        "otherwise. Restore the one or the other from a copy, or give this run another folder "
        "(--set run=...).",
        file.string(), was, is);
  };
  expect_same(session_.folder().calibration(), known.calibration, calibration);
  expect_same(session_.folder().heldout(), known.heldout, heldout);
  if (known.store != session_.store().digest())
    ledger_.prepared(session_.store().digest(), calibration, heldout);
  state_.prepared = true;
  remove_leftovers_of_kills(session_.folder().store);
  drop_missing_chunks();
  for (const auto& [chunk, record] : ledger_.state().sealed) state_.sealed.insert(chunk);
  list_chunks();
  if (!fs::exists(session_.folder().manifest())) write_store_manifest();
}

// By one look into the folder: what is in a chunk is looked at when it is read.
void Coordinator::drop_missing_chunks() {
  const RunState& ledger = ledger_.state();
  std::map<std::uint64_t, std::uint64_t> bytes;  // of the chunks there
  for (const auto& entry : fs::directory_iterator(session_.folder().store))
    if (const auto chunk = chunk_of_file(entry.path().filename().string());
        chunk && entry.is_regular_file())
      bytes[*chunk] = entry.file_size();
  std::vector<std::uint64_t> missing;
  for (const auto& [chunk, record] : ledger.sealed) {
    const auto file = bytes.find(chunk);
    if (file != bytes.end() && file->second == record.bytes) continue;
    const bool needed =
        state_.visits == 0 ||
        chunk + state_.chunks * (session_.config().train.corpus_passes - 1) >= state_.visits_done;
    warn(fmt::format(
        "{} {}; {}", session_.folder().chunk(chunk).string(),
        file == bytes.end() ? "is missing"
                            : fmt::format("has {} bytes, not {}", file->second, record.bytes),
        needed ? "it is made again"
               : "it was trained on and is not needed any more, so it is not made again"));
    missing.push_back(chunk);
  }
  for (const std::uint64_t chunk : missing) lose(chunk);
  for (const auto& [chunk, size] : bytes)
    if (ledger.evicted.contains(chunk)) remove_all_quietly(session_.folder().chunk(chunk));
}

void Coordinator::lose(std::uint64_t chunk) { remove_chunk(chunk, &Ledger::lost); }

// The ledger hears of it first: a kill in between leaves a file that nobody counts on.
void Coordinator::remove_chunk(std::uint64_t chunk, void (Ledger::*record)(std::uint64_t)) {
  const ChunkRecord sealed = ledger_.state().sealed.at(chunk);
  (ledger_.*record)(chunk);
  state_.sealed.erase(chunk);
  remove_all_quietly(session_.folder().chunk(chunk));
  list_chunk(chunk, sealed, true);
}

// Of the sealed chunks whose shape is known now and was not before. A last chunk holds whole
// batches: with another train.batch_rows or train.tokens it has another shape, and it alone is made
// again. A chunk beyond the end is not needed any more. Of the others the evidence is kept, where a
// kill came between.
void Coordinator::settle_sealed_chunks(std::uint64_t from) {
  const RunState& state = ledger_.state();
  std::vector<std::uint64_t> other, kept;
  for (const std::uint64_t chunk : state_.sealed.from(from)) {
    const bool beyond = session_.corpus().complete() && chunk >= state_.chunks;
    if (!beyond && !session_.corpus().order().has_chunk(chunk)) continue;
    const bool fits =
        !beyond && session_.corpus().order().chunk_shape(chunk).rows == state.sealed.at(chunk).rows;
    (fits ? kept : other).push_back(chunk);
  }
  for (const std::uint64_t chunk : other) {
    say(fmt::format("chunk {} {}", chunk,
                    chunk < state_.chunks
                        ? "has another shape with these settings; it is made again"
                        : "is beyond what these settings train on; it goes"));
    lose(chunk);
  }
  for (const std::uint64_t chunk : kept) keep_evidence(chunk);
}

EvidenceKeeper& Coordinator::evidence() {
  if (!evidence_) evidence_ = std::make_unique<EvidenceKeeper>(session_);
  return *evidence_;
}

// Looked at again when it is needed: a damaged chunk is made again when it is trained on, and its
// evidence is computed at the end if it is not.
void Coordinator::keep_evidence(std::uint64_t chunk) {
  try {
    evidence().keep(chunk, ledger_.state().sealed.at(chunk).digest);
  } catch (const Damaged& error) {
    warn(fmt::format("{}; its evidence is not taken yet", error.what()));
  }
}

// What follows from corpus and ledger.
void Coordinator::refresh() {
  if (!state_.streams && !state_.corpus_complete) return;
  const TrainingPlan plan = session_.plan();
  state_.chunks = plan.chunks;
  state_.visits = plan.visits;
  const std::uint64_t known =
      state_.corpus_complete ? state_.chunks : state_.rows / state_.chunk_rows;
  if (known != state_.chunks_known || (state_.prepared && !shapes_checked_)) {
    const std::uint64_t before = shapes_checked_ ? state_.chunks_known : 0;
    state_.chunks_known = known;
    settle_sealed_chunks(before);
    shapes_checked_ = state_.prepared;
  }
  if (disk_planned_ || !state_.first_window || only_corpus_) return;
  const DiskPlan disk = plan_disk(session_.config(), session_.run().model_info(),
                                  session_.corpus().bytes(), state_.chunks, state_.visits);
  check_disk(disk, session_.config());
  state_.chunks_allowed = disk.chunks_allowed;
  disk_planned_ = true;
}

// What is begun of a chunk is kept (blocks, a checkpoint within it), so one is begun even if it
// cannot end in time; not where its reading would be most of what is done.
bool Coordinator::fits(Work work) const {
  constexpr double kWorthwhile = 0.1;
  const std::optional<double> took_s = board_.took_s(work);
  if ((work == Work::extract || work == Work::train) && took_s)
    stop_unless_left(kWorthwhile * *took_s, "a tenth of the next chunk");
  return !stop_requested();
}

void Coordinator::hand_out() {
  if (stopping_) return;
  while (true) {
    refresh();
    std::vector<Assignment> running;
    for (const Running& r : running_) running.push_back(r.assignment);
    const std::vector<Assignment> fresh =
        next_assignments(session_.config().pipeline, plan_, state_, running);
    bool evicted = false;
    for (const Assignment& a : fresh) {
      if (a.ticket.work == Work::evict) {
        evict(a.ticket.index);
        evicted = true;
        continue;
      }
      if (!fits(a.ticket.work)) {
        stop();
        return;
      }
      if (a.ticket.work == Work::extract && !fs::exists(session_.folder().chunk(a.ticket.index)))
        ledger_.planned(a.ticket.index, session_.corpus().order().chunk_shape(a.ticket.index).rows);
      running_.push_back({a, 0, {}});
      board_.started(a, monotonic_s());
      Json message{{"kind", "ticket"}, {"ticket", to_json(a.ticket)}};
      if (a.ticket.work == Work::train)  // what it must find in the chunk's file
        message["digest"] =
            ledger_.state().sealed.at(session_.plan().chunk_of(a.ticket.index)).digest;
      for (const int rank : a.ranks) send_with_corpus(rank, message);
    }
    if (!evicted) return;
  }
}

void Coordinator::seal(std::uint64_t chunk, const Json& result) {
  const ChunkRecord record{result.at("digest"), result.at("rows"),
                           fs::file_size(session_.folder().chunk(chunk))};
  evidence().keep(chunk, record.digest);
  ledger_.sealed(chunk, record);
  state_.sealed.insert(chunk);
  list_chunk(chunk, record, false);
  progressed_ = true;
}

void Coordinator::evict(std::uint64_t chunk) {
  remove_chunk(chunk, &Ledger::evicted);
  display_.clear();
  say(chunk < state_.visits_done
          ? fmt::format("evicted chunk {} (trained, sealed in a checkpoint; disk.max_bytes)", chunk)
          : fmt::format(
                "evicted chunk {} to make room for one that comes first (disk.max_bytes); it "
                "is made again",
                chunk));
}

// For foreign readers, after the ledger's line.
void Coordinator::list_chunk(std::uint64_t chunk, const ChunkRecord& record, bool gone) {
  append_chunk(session_.folder().chunk_list(),
               {chunk, record.rows, record.bytes, record.digest, gone});
  write_store_manifest();
}

// chunks.jsonl says what the ledger says, whatever became of it.
void Coordinator::list_chunks() {
  std::vector<SealedChunk> chunks;
  for (const auto& [chunk, record] : ledger_.state().known)
    chunks.push_back(
        {chunk, record.rows, record.bytes, record.digest, ledger_.state().evicted.contains(chunk)});
  write_chunk_list(session_.folder().chunk_list(), chunks);
}

void Coordinator::write_store_manifest() {
  const RunConfig& config = session_.config();
  StoreManifest manifest{.model_name = session_.folder().model_name(),
                         .model_version = session_.run().inputs().model_digest,
                         .files_processed = session_.corpus().admitted(),
                         .hooks = {},
                         .dtype = dtype_from_name(config.store.dtype),
                         .row_rule = config.rows.take,
                         .context_length = config.tokens.context,
                         .tokenizer_digest = session_.run().tokenizer().digest(),
                         .store_digest = session_.store().digest(),
                         .calibration_digest = session_.store().calibration_digest(),
                         .chunks = ledger_.state().sealed.size(),
                         .rows = ledger_.state().sealed_rows,
                         .more = {}};
  for (const std::string& hook : config.hooks)
    manifest.hooks.push_back({hook, session_.store().calibration().of(hook).d_in});
  session_.run().expect_own();
  manifest.more = {{"packing", config.tokens.packing}, {"bos", config.tokens.bos}};
  write_manifest(session_.folder().manifest(), manifest);
}

}  // namespace refract
