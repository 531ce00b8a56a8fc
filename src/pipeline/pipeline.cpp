#include "refract/pipeline/pipeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"
#include "refract/comm/environment.hpp"
#include "refract/ops/gemm.hpp"
#include "refract/pipeline/analysis.hpp"
#include "refract/pipeline/checkpoints.hpp"
#include "refract/pipeline/disk_plan.hpp"
#include "refract/pipeline/numerics.hpp"
#include "refract/pipeline/schedule.hpp"
#include "refract/stages/verify.hpp"

namespace refract {
namespace {

// One attempt at a run, from lock to status.
class Attempt {
 public:
  Attempt(const RunConfig& config, Communicator& world, const RunOptions& options)
      : session_(config, world), world_(world), options_(options), roles_(plan_roles(config.pipeline.layout, world.size())) {}

  ExitCode collective_run();

 private:
  [[nodiscard]] const RunConfig& config() const { return session_.config(); }
  [[nodiscard]] bool root() const { return world_.rank() == 0; }
  bool already_done();
  void begin();
  void freeze_configuration();
  ExitCode collective_work();
  void check_sealed_chunks();
  ChunkProgress progress(const DiskPlan& disk) const;
  void collective_chunks();
  void collective_extract(std::uint64_t chunk);
  void evict(std::uint64_t chunk);
  bool collective_train(std::uint64_t visit);
  void write_manifest_now();
  [[nodiscard]] bool collective_stop_requested() { return world_.all_reduce_max(stop_requested() ? 1 : 0) != 0; }
  [[noreturn]] void stop(const std::string& where) {
    throw StopRequested("stopped by a signal {}; start again to go on", where);
  }

  Session session_;
  Communicator& world_;
  RunOptions options_;
  RolePlan roles_;
  std::unique_ptr<RunLock> lock_;
  std::unique_ptr<Ledger> ledger_;  // world rank 0
  std::vector<TrainedSae> saes_;
  std::unique_ptr<StepRunner> runner_;
  std::unique_ptr<Checkpoints> checkpoints_;
  TrainingPosition position_;
  std::uint64_t attempt_ = 0;
  bool progressed_ = false;
};

bool Attempt::already_done() {
  if (options_.until != Until::report || read_status(session_.folder().status()) != "done") return false;
  const RunConfig frozen = read_frozen(session_.folder().run_yaml()).config;
  if (!first_difference(frozen, config()).empty()) return false;  // reported by freeze_configuration
  return analysis_settings(frozen) == analysis_settings(config());
}

void Attempt::begin() {
  make_folder(session_.folder().root);
  lock_ = std::make_unique<RunLock>(session_.folder().lock(), job_name());
  const RunState before = read_ledger(session_.folder().ledger());
  attempt_ = before.attempts.size() + 1;
  write_status(session_.folder().status(), fmt::format("running {} {}", job_name(), attempt_));
  freeze_configuration();
  ledger_ = std::make_unique<Ledger>(session_.folder().ledger());
  ledger_->attempt_started({.attempt = attempt_, .job = job_name(), .host = host_name(), .started = utc_now(),
                            .ended = "", .outcome = "", .ranks = world_.size()});
}

void Attempt::freeze_configuration() {
  const fs::path file = session_.folder().run_yaml();
  const Numerics numerics = current_numerics(config(), world_.size());
  if (fs::exists(file)) {
    const FrozenRun frozen = read_frozen(file);
    const std::string difference = first_difference(frozen.config, config());
    if (!difference.empty())
      throw ConfigError("the run in {} was started with another configuration: {}. Give this one another folder "
                        "(--set run=...), or go back to the old setting.", session_.folder().root.string(), difference);
    const std::string changed = numerics_difference(frozen.numerics, numerics, config());
    if (!changed.empty() && !options_.allow_numerics_change)
      throw SystemError("the run in {} was computed with other numerics: {}. Its bytes would differ from a run never "
                        "stopped; --allow-numerics-change goes on all the same.", session_.folder().root.string(), changed);
  }
  write_file(file, frozen_text(config(), numerics));
}

ExitCode Attempt::collective_run() {
  std::uint64_t done = root() && already_done() ? 1 : 0;
  if (world_.all_reduce_max(done)) {
    if (root()) say(fmt::format("{} is finished; nothing to do. The report is {}", session_.folder().root.string(),
                                (session_.folder().root / config().report.file).string()));
    return ExitCode::ok;
  }
  if (root()) begin();
  world_.barrier();
  const auto end = [&](const std::string& status, const std::string& outcome) {
    if (!root()) return;
    ledger_->attempt_ended(attempt_, outcome);
    write_status(session_.folder().status(), status);
  };
  try {
    const ExitCode code = collective_work();
    end(options_.until == Until::report ? "done" : "resume", "ended");
    return code;
  } catch (const StopRequested& stopped) {
    end(progressed_ ? "resume" : fmt::format("stuck {}", stopped.what()), "stopped by a signal");
    if (root()) say(stopped.what());
    return ExitCode::resume;
  } catch (const Error& error) {
    try {
      end(fmt::format("failed {} {}", static_cast<int>(error.code()), error.what()), error.what());
    } catch (const Error&) {  // a full disk may refuse the status too; the first error is the one to report
    }
    throw;
  }
}

ExitCode Attempt::collective_work() {
  progressed_ |= session_.prepare_corpus();
  if (root())
    say(fmt::format("corpus: {} shards, {} rows to train on in {} chunk(s), {} dropped (less than a batch)",
                    session_.corpus().shards(), session_.order().rows(), session_.order().chunks(),
                    session_.order().dropped_rows()));
  if (options_.until == Until::tokenize) return ExitCode::ok;
  const GemmSelfTest self_test = gemm_self_test();
  if (!self_test.passed)
    throw NumericalError("the GEMM backend ({}) gives a row other bytes depending on the rows beside it: {}. Results "
                         "would depend on the rank count; use another BLAS or OPENBLAS_CORETYPE.",
                         gemm_backend_description(), self_test.difference);
  progressed_ |= session_.prepare_store();
  if (root()) check_sealed_chunks();
  world_.barrier();
  collective_chunks();
  if (options_.until <= Until::train) return ExitCode::ok;
  if (root()) {
    evaluate_run(session_, *ledger_, saes_);
    if (options_.until >= Until::probe) probe_run(session_, *ledger_, saes_);
    if (options_.until >= Until::report) report_run(session_, *ledger_, saes_);
  }
  world_.barrier();
  const std::uint64_t wanted = wanted_rows(config());
  if (wanted && session_.order().rows() + config().train.batch_rows <= wanted)
    throw DataError("the corpus ended after {} rows; train.tokens asked for {}. Everything found was trained on and "
                    "sealed. Add shards to source.from, or lower train.tokens.", session_.order().rows(), wanted);
  return ExitCode::ok;
}

void Attempt::check_sealed_chunks() {
  const RunState state = ledger_->state();
  for (const auto& [chunk, record] : state.sealed) {
    const fs::path path = session_.folder().chunk(chunk);
    try {
      if (ChunkReader(path, {{"store", session_.store_digest()}}).content_digest() == record.digest) continue;
      warn(fmt::format("{} is not the chunk the ledger names; it will be made again", path.string()));
    } catch (const DataError& error) {
      warn(fmt::format("{}; it will be made again", error.what()));
    }
    remove_all_quietly(path);
    ledger_->lost(chunk);
  }
  for (const std::uint64_t chunk : state.evicted) remove_all_quietly(session_.folder().chunk(chunk));
}

ChunkProgress Attempt::progress(const DiskPlan& disk) const {
  const RunState state = read_ledger(session_.folder().ledger());
  ChunkProgress p{.chunks = session_.order().chunks(), .visits = session_.visits(), .sealed = {},
                  .visits_done = position_.visit, .may_evict = config().store.mode == "ring", .free_chunks = 0};
  for (const auto& [chunk, record] : state.sealed) p.sealed.insert(chunk);
  p.free_chunks = disk.chunks_allowed > p.sealed.size() ? disk.chunks_allowed - p.sealed.size() : 0;
  return p;
}

void Attempt::collective_chunks() {
  saes_ = make_trained_saes(config().saes, session_.calibration(),
                            dead_threshold(config().store.chunk_rows, session_.order().rows()));
  for (const SaeConfig& sae : config().saes)
    if (root()) make_folder(session_.folder().checkpoints(sae.name));
  world_.barrier();
  runner_ = std::make_unique<StepRunner>(config().train, session_.total_steps(), world_);
  checkpoints_ = std::make_unique<Checkpoints>(session_, ledger_.get());
  position_ = checkpoints_->collective_restore(read_ledger(session_.folder().ledger()), saes_);
  const DiskPlan disk = plan_disk(config(), session_.model_info(), session_.corpus_bytes(), session_.order().chunks(),
                                  session_.visits());
  check_disk(disk, config());

  std::set<Role> roles = roles_.roles[static_cast<std::size_t>(world_.rank())];
  if (options_.until == Until::extract) roles.erase(Role::train);
  while (const std::optional<Ticket> ticket = next_ticket(progress(disk), roles)) {
    switch (ticket->work) {
      case Ticket::Work::extract: collective_extract(ticket->index); break;
      case Ticket::Work::evict: evict(ticket->index); break;
      case Ticket::Work::train:
        if (!collective_train(ticket->index)) stop("while training");
        break;
    }
    world_.barrier();
  }
}

void Attempt::collective_extract(std::uint64_t chunk) {
  const ChunkShape shape = session_.order().chunk_shape(chunk);
  const ChunkSpec spec = session_.chunk_spec(shape);
  const fs::path path = session_.folder().chunk(chunk);
  std::string digest;
  std::error_code absent;
  if (fs::exists(path, absent)) {  // sealed just before a kill: the ledger did not hear of it
    digest = ChunkReader(path, spec.parents).content_digest();
  } else {
    if (root()) ledger_->planned(chunk, shape.rows);
    ChunkWriter writer = ChunkWriter::collective_open(path, spec, world_);
    BlockComputer computer(session_.model(), session_.hooks(), session_.corpus(), session_.sink_thresholds());
    Stream stream;
    const Share share = share_of(spec.blocks(), world_.rank(), world_.size());
    Progress progress(fmt::format("extract {} of {}", chunk + 1, session_.order().chunks()),
                      share.count * shape.block_rows, "rows", !root());
    for (std::uint64_t b = share.first; b < share.first + share.count; ++b) {
      if (!std::ranges::binary_search(writer.good_blocks(), b)) {
        const BlockRows rows = computer.compute(
            plan_block(session_.order(), shape, b, session_.corpus(), session_.row_rule()), stream);
        std::vector<HookRows> hooks;
        for (std::size_t h = 0; h < rows.activations.size(); ++h)
          hooks.push_back({rows.activations[h].span(), rows.sinks[h]});
        writer.write_block(b, rows.identity, hooks);
        progressed_ = true;
      }
      progress.advance(shape.block_rows);
      if (lock_) lock_->heartbeat();
      if (stop_requested()) break;
    }
    progress.finish();
    if (collective_stop_requested()) {
      writer.collective_close();
      stop("while extracting");
    }
    digest = writer.collective_seal();
  }
  if (root()) {
    ledger_->sealed(chunk, {digest, spec.rows, fs::file_size(path)});
    write_manifest_now();
  }
  progressed_ = true;
}

void Attempt::write_manifest_now() {
  const RunState state = ledger_->state();
  StoreManifest manifest{.model_name = model_display_name(config().model), .model_version = session_.model_info().digest,
                         .files_processed = session_.shard_names(), .hooks = {},
                         .dtype = dtype_from_name(config().store.dtype), .row_rule = config().rows.take,
                         .context_length = config().tokens.context, .tokenizer_digest = session_.tokenizer().digest(),
                         .store_digest = session_.store_digest(), .calibration_digest = "", .chunks = {}, .more = {}};
  for (const std::string& hook : config().hooks)
    manifest.hooks.push_back({hook, session_.calibration().of(hook).d_in});
  for (const auto& [chunk, record] : state.sealed)
    manifest.chunks.push_back({.chunk = chunk, .rows = record.rows, .bytes = record.bytes, .digest = record.digest});
  manifest.more = {{"packing", config().tokens.packing}, {"bos", config().tokens.bos}};
  write_manifest(session_.folder().manifest(), manifest);
}

void Attempt::evict(std::uint64_t chunk) {
  if (!root()) return;
  ledger_->evicted(chunk);
  remove_all_quietly(session_.folder().chunk(chunk));
  write_manifest_now();
  say(fmt::format("evicted chunk {} (trained, sealed in a checkpoint; disk.max_bytes)", chunk));
}

// false: stopped within the visit, after a checkpoint.
bool Attempt::collective_train(std::uint64_t visit_number) {
  const ChunkVisit visit = session_.visit(visit_number);
  const ChunkReader chunk(session_.folder().chunk(visit.shape.chunk), {{"store", session_.store_digest()}});
  const std::uint64_t steps = visit.steps(config().train), from = position_.steps_in_visit;
  if (from == 0)
    for (TrainedSae& sae : saes_) sae.log = {};
  Progress progress(fmt::format("train {} of {}", visit_number + 1, session_.visits()),
                    (steps - from) * config().train.batch_rows, "rows", !root());
  const double started_s = monotonic_s();
  double saved_s = started_s;
  const auto after_step = [&](std::uint64_t done) {
    progress.advance(config().train.batch_rows);
    progress.note(fmt::format("mse {:.3f}", saes_.front().log.mse / static_cast<double>(saes_.front().log.steps)));
    if (lock_) lock_->heartbeat();
    const bool due = monotonic_s() - saved_s > config().checkpoint.every_s;
    const std::uint64_t wish = world_.all_reduce_max(stop_requested() ? 2 : due ? 1 : 0);
    if (wish == 0 || done == steps) return true;
    position_.steps_in_visit = done;
    checkpoints_->collective_save(position_, false, saes_, *runner_);
    progressed_ = true;
    saved_s = monotonic_s();
    return wish < 2;
  };
  const std::uint64_t done = collective_train_chunk(saes_, chunk, visit, session_.order(), config().train, from,
                                                    *runner_, world_, after_step);
  progress.finish();
  if (done < steps) return false;

  const double seconds = monotonic_s() - started_s;
  position_ = {.visit = visit_number + 1, .steps_in_visit = 0,
               .store_running = extend_digest(position_.store_running, chunk.content_digest())};
  if (root())
    for (const TrainedSae& sae : saes_) {
      AppendLog(session_.folder().metrics(sae.config.name)).append(metrics_line(session_, sae, visit_number));
      AppendLog(session_.folder().timing(sae.config.name))
          .append(fmt::format(R"({{"chunk":{},"steps":{},"seconds":{:.3f},"rows_per_s":{:.1f}}})", visit_number,
                              steps - from, seconds, static_cast<double>((steps - from) * config().train.batch_rows) / seconds));
    }
  checkpoints_->collective_save(position_, true, saes_, *runner_);
  progressed_ = true;
  return true;
}

}  // namespace

ExitCode collective_run(const RunConfig& config, Communicator& world, const RunOptions& options) {
  return Attempt(config, world, options).collective_run();
}

void collective_verify(const RunConfig& config, Communicator& world) {
  Session session(config, world);
  if (!fs::exists(session.folder().heldout()))
    throw DataError("{} holds no activation store: run first", session.folder().root.string());
  (void)session.prepare_corpus();
  (void)session.prepare_store();
  BlockComputer computer(session.model(), session.hooks(), session.corpus(), session.sink_thresholds());
  constexpr std::uint64_t kRowsPerFile = 1000;
  VerifyResult result;
  const HeldoutPlan heldout = session.heldout_plan();
  const Parents parents{{"store", session.store_digest()}};
  verify_chunk(ChunkReader(session.folder().heldout(), parents), [&](std::uint64_t b) { return heldout.blocks.at(b); },
               session.corpus(), computer, kRowsPerFile, config.store.seed, result);
  const RunState state = read_ledger(session.folder().ledger());
  for (const auto& [chunk, record] : state.sealed) {
    const ChunkShape shape = session.order().chunk_shape(chunk);
    verify_chunk(ChunkReader(session.folder().chunk(chunk), parents),
                 [&](std::uint64_t b) { return plan_block(session.order(), shape, b, session.corpus(), session.row_rule()); },
                 session.corpus(), computer, kRowsPerFile, config.store.seed, result);
  }
  if (!result.faults.empty())
    throw DataError("verification found {} fault(s), the first: {}. Delete that file and run again: it will be rebuilt.",
                    result.faults.size(), result.faults.front());
  say(fmt::format("verified: {} row identities, {} block checksums, {} rows recomputed byte for byte in {} file(s)",
                  result.identities, result.blocks, result.recomputed_rows, state.sealed.size() + 1));
}

}  // namespace refract
