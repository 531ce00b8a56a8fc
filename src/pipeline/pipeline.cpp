#include "refract/pipeline/pipeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "pipeline/coordinator.hpp"
#include "pipeline/worker.hpp"
#include "refract/base/activity.hpp"
#include "refract/base/file.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"
#include "refract/comm/environment.hpp"
#include "refract/comm/watchdog.hpp"
#include "refract/ops/gemm.hpp"
#include "refract/pipeline/analysis.hpp"
#include "refract/pipeline/checkpoints.hpp"
#include "refract/pipeline/identity.hpp"
#include "refract/pipeline/numerics.hpp"
#include "refract/pipeline/schedule.hpp"
#include "refract/stages/verify.hpp"

namespace refract {
namespace {

// One attempt at a run, from lock to status.
class Attempt {
 public:
  Attempt(const RunConfig& config, Communicator& world, const RunOptions& options)
      : session_(config, world),
        world_(world),
        options_(options),
        roles_(plan_roles(config.pipeline, world.size(), usable_cores())),
        training_ranks_(static_cast<int>(roles_.ranks_with(Role::train).size())) {
    if (options.until == Until::tokenize) drop_role(Role::extract);
    if (options.until <= Until::extract) drop_role(Role::train);
  }

  ExitCode collective_run();

 private:
  [[nodiscard]] const RunConfig& config() const { return session_.config(); }
  [[nodiscard]] bool root() const { return world_.rank() == 0; }
  void drop_role(Role role) {
    for (std::set<Role>& roles : roles_.roles) roles.erase(role);
  }
  bool already_done();
  void begin();
  void freeze_configuration();
  ExitCode collective_work();
  void require_gemm_self_test();
  void analyse(std::vector<TrainedSae>& trained);

  Session session_;
  Communicator& world_;
  RunOptions options_;
  RolePlan roles_;
  int training_ranks_;  // also when this command ends before training
  std::unique_ptr<RunLock> lock_;
  std::unique_ptr<Ledger> ledger_;  // world rank 0
  std::uint64_t attempt_ = 0;
  bool progressed_ = false;  // world rank 0
};

bool Attempt::already_done() {
  if (options_.until != Until::report || read_status(session_.folder().status()) != "done")
    return false;
  const RunConfig frozen = read_frozen(session_.folder().run_yaml()).config;
  if (!first_difference(frozen, config()).empty())
    return false;  // reported by freeze_configuration
  return analysis_settings(frozen) == analysis_settings(config()) &&
         unfinished_part(config(), session_.folder(), read_ledger(session_.folder().ledger()))
             .empty();
}

void Attempt::begin() {
  make_folder(session_.folder().root);
  lock_ = std::make_unique<RunLock>(session_.folder().lock(), job_name());
  const RunState before = read_ledger(session_.folder().ledger());
  attempt_ = before.attempts.size() + 1;
  write_status(session_.folder().status(), fmt::format("running {} {}", job_name(), attempt_));
  freeze_configuration();
  ledger_ = std::make_unique<Ledger>(session_.folder().ledger());
  ledger_->attempt_started({.attempt = attempt_,
                            .job = job_name(),
                            .host = host_name(),
                            .started = utc_now(),
                            .ended = "",
                            .outcome = "",
                            .ranks = world_.size()});
}

void Attempt::freeze_configuration() {
  const fs::path file = session_.folder().run_yaml();
  const Numerics numerics = current_numerics(config(), training_ranks_);
  if (fs::exists(file)) {
    const FrozenRun frozen = read_frozen(file);
    const std::string difference = first_difference(frozen.config, config());
    if (!difference.empty())
      throw ConfigError(
          "the run in {} was started with another configuration: {}. Give this one another folder "
          "(--set run=...), or go back to the old setting.",
          session_.folder().root.string(), difference);
    const std::string changed = numerics_difference(frozen.numerics, numerics, config());
    if (!changed.empty() && !options_.allow_numerics_change)
      throw SystemError(
          "the run in {} was computed with other numerics: {}. Its bytes would differ from a run "
          "never stopped; --allow-numerics-change goes on all the same.",
          session_.folder().root.string(), changed);
  }
  write_file(file, frozen_text(config(), numerics));
}

ExitCode Attempt::collective_run() {
  std::uint64_t done = root() && already_done() ? 1 : 0;
  if (world_.all_reduce_max(done)) {
    if (root())
      say(fmt::format("{} is finished; nothing to do. The report is {}",
                      session_.folder().root.string(),
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
      const std::string status =
          fmt::format("failed {} {}", static_cast<int>(error.code()), error.what());
      end(status, error.what());
      if (!root())
        write_status(session_.folder().status(), status);  // rank 0 will not live to do it
    } catch (const Error&) {  // a full disk may refuse the status too; the first error is the one
                              // to report
    }
    throw;
  }
}

void Attempt::require_gemm_self_test() {
  const GemmSelfTest self_test = gemm_self_test();
  if (!self_test.passed)
    throw NumericalError(
        "the GEMM backend ({}) gives a row other bytes depending on the rows beside it: {}. "
        "Results would depend on the rank count; use another BLAS or OPENBLAS_CORETYPE.",
        gemm_backend_description(), self_test.difference);
}

ExitCode Attempt::collective_work() {
  const Watchdog watchdog = Watchdog::collective_start(world_, session_.folder().root / "alive",
                                                       config().pipeline.watchdog_s);
  require_gemm_self_test();
  session_.collective_open_corpus();
  std::unique_ptr<Coordinator> coordinator;
  if (root())
    coordinator = std::make_unique<Coordinator>(session_, world_, roles_, *ledger_,
                                                options_.until == Until::tokenize);
  Worker worker(session_, world_, roles_, [&] {
    if (!coordinator) return;
    coordinator->poll();
    progressed_ = coordinator->progressed();
    lock_->heartbeat();
  });
  if (worker.collective_work()) throw StopRequested("stopped by a signal; start again to go on");
  if (root() && world_.size() > 1) say(coordinator->board().summary(monotonic_s()));
  if (options_.until >= Until::evaluate && root()) analyse(worker.saes());
  world_.barrier();
  if (options_.until <= Until::extract) return ExitCode::ok;
  const std::uint64_t wanted = wanted_rows(config());
  if (wanted && session_.order().rows() + config().train.batch_rows <= wanted)
    throw DataError(
        "the corpus ended after {} rows; train.tokens asked for {}. Everything found was trained "
        "on and sealed. Add shards to source.from, or lower train.tokens.",
        session_.order().rows(), wanted);
  return ExitCode::ok;
}

// On world rank 0, while the others sleep: it may use their cores.
void Attempt::analyse(std::vector<TrainedSae>& trained) {
  working("evaluation, probe and report");
  const int threads = thread_count();
  if (world_.size() > 1) set_thread_count(usable_cores());
  if (trained.empty()) trained = load_newest(session_, ledger_->state());
  evaluate_run(session_, *ledger_, trained, progressed_);
  if (options_.until >= Until::probe) probe_run(session_, *ledger_, trained, progressed_);
  if (options_.until >= Until::report)
    report_run(config(), session_.folder(), *ledger_, report_facts(session_, ledger_->state()));
  set_thread_count(threads);
}

}  // namespace

ExitCode collective_run(const RunConfig& config, Communicator& world, const RunOptions& options) {
  return Attempt(config, world, options).collective_run();
}

void collective_verify(const RunConfig& config, Communicator& world) {
  Session session(config, world);
  if (!fs::exists(session.folder().heldout()))
    throw DataError("{} holds no activation store: run first", session.folder().root.string());
  session.collective_open_corpus();
  while (!session.corpus_complete()) (void)session.admit_next_shard();
  session.open_store();
  BlockComputer computer(session.model(), session.hooks(), session.corpus(),
                         session.sink_thresholds());
  const VerifyRule rule{.seed = config.store.seed};
  VerifyResult result;
  const HeldoutPlan heldout = session.heldout_plan();
  const Parents parents{{"store", session.store_digest()}};
  verify_chunk(
      ChunkReader(session.folder().heldout(), parents),
      [&](std::uint64_t b) { return heldout.blocks.at(b); }, session.corpus(), computer, rule, {},
      result);
  const RunState state = read_ledger(session.folder().ledger());
  for (const auto& [chunk, record] : state.sealed) {
    const ChunkShape shape = session.order().chunk_shape(chunk);
    verify_chunk(
        ChunkReader(session.folder().chunk(chunk), parents),
        [&](std::uint64_t b) {
          return plan_block(session.order(), shape, b, session.corpus(), session.row_rule());
        },
        session.corpus(), computer, rule, {}, result);
  }
  if (!result.faults.empty())
    throw DataError(
        "verification found {} fault(s), the first: {}. Delete that file and run again: it will be "
        "rebuilt.",
        result.faults.size(), result.faults.front());
  say(fmt::format(
      "verified: {} row identities, {} block checksums, {} rows recomputed byte for byte in {} "
      "file(s)",
      result.identities, result.blocks, result.recomputed_rows, state.sealed.size() + 1));
}

}  // namespace refract
