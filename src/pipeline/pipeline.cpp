#include "refract/pipeline/pipeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <sstream>

#include "pipeline/coordinator.hpp"
#include "pipeline/messages.hpp"
#include "pipeline/progress_keeper.hpp"
#include "pipeline/worker.hpp"
#include "refract/base/activity.hpp"
#include "refract/base/file.hpp"
#include "refract/base/machine.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"
#include "refract/comm/environment.hpp"
#include "refract/comm/watchdog.hpp"
#include "refract/metrics/advice.hpp"
#include "refract/ops/gemm.hpp"
#include "refract/pipeline/checkpoints.hpp"
#include "refract/pipeline/evidence.hpp"
#include "refract/pipeline/identity.hpp"
#include "refract/pipeline/numerics.hpp"
#include "refract/pipeline/preflight.hpp"
#include "refract/pipeline/results.hpp"
#include "refract/pipeline/schedule.hpp"
#include "refract/pipeline/training_device.hpp"
#include "refract/stages/verify.hpp"
#include "refract/store/calibration.hpp"
#include "refract/store/claim.hpp"

namespace refract {
namespace {

// The claim on the run. Another job's is waited for only as long as it takes to see that it is
// dead.
Claim claim_run(const RunFolder& folder) {
  make_folder(folder.root);
  const Droppable droppable;
  constexpr double kSilence_s = 3;
  const double started_s = monotonic_s();
  bool said = false;
  std::string owner;
  std::optional<Claim> claim = Claim::try_take(folder.lock(), job_name(), owner, [&] {
    stop_point();
    if (said || monotonic_s() - started_s < kSilence_s) return;
    said = true;
    say(fmt::format("{} was left by another job; looking whether that job is dead",
                    folder.lock().string()));
  });
  if (!claim)
    throw SystemError(
        "the run folder {} is in use by {}. Wait for it to end, or give this job another folder "
        "(--set run=...).",
        folder.root.string(), owner);
  return std::move(*claim);
}

// Of a run that is to be looked at.
Claim claim_existing_run(const RunFolder& folder) {
  if (!fs::exists(folder.ledger()))
    throw DataError("{} holds no run: start it with `refract run`", folder.root.string());
  return claim_run(folder);
}

void refuse_difference(const RunFolder& folder, const std::string& difference) {
  if (!difference.empty()) throw other_configuration(folder.root, difference);
}

// Whole as far as that costs little: the rows that everything rests on, and what is derived last.
bool store_is_whole(const RunFolder& folder, const RunState& state) {
  try {
    const ChunkReader heldout(folder.heldout());
    heldout.verify_blocks();
    ChunkReader(folder.evidence(), {{"store", state.store}}).verify_blocks();
    if (heldout.content_digest() != state.heldout ||
        read_calibration(folder.calibration()).content_digest != state.calibration)
      return false;
  } catch (const DataError&) {
    return false;
  }
  const auto exists = [](const fs::path& file) { return fs::exists(file); };
  return exists(folder.manifest()) && exists(folder.chunk_list()) && exists(folder.corpus()) &&
         std::ranges::all_of(state.sealed,
                             [&](const auto& chunk) { return exists(folder.chunk(chunk.first)); });
}

bool sae_is_whole(const RunFolder& folder, const RunState& state, const std::string& name) {
  if (state.checkpoints.empty() || !fs::exists(folder.metrics(name))) return false;
  const CheckpointRecord& newest = state.checkpoints.back();
  const auto of_sae = newest.saes.find(name);
  if (of_sae == newest.saes.end() || !export_is_whole(folder.latest(name), of_sae->second.weights))
    return false;
  const std::string lines = read_file(folder.metrics(name));
  return static_cast<std::uint64_t>(std::ranges::count(lines, '\n')) == state.visits;
}

// One attempt at a run, from claim to status.
class Attempt {
 public:
  Attempt(const RunConfig& config, Communicator& world, const RunOptions& options)
      : session_(config, world, options.until > Until::extract),
        world_(world),
        options_(options),
        roles_(plan_roles(config.pipeline, world.size(), usable_cores())),
        training_ranks_(static_cast<int>(roles_.ranks_with(Role::train).size())) {
    if (options.until == Until::tokenize) drop_role(Role::extract);
    if (options.until <= Until::extract) drop_role(Role::train);
    if (root()) deadline_.emplace(options.time);
  }

  ExitCode collective_run();

 private:
  [[nodiscard]] const RunConfig& config() const { return session_.config(); }
  [[nodiscard]] const RunFolder& folder() const { return session_.folder(); }
  [[nodiscard]] bool root() const { return world_.rank() == 0; }
  void drop_role(Role role) {
    for (std::set<Role>& roles : roles_.roles) roles.erase(role);
  }
  void say_if_crashed() const;
  std::string take_over();
  [[nodiscard]] bool already_done(const RunState& state) const;
  void expect_same_settings(const RunState& state);
  void expect_same_inputs(const RunState& state) const;
  void collective_use_frozen_kernel();
  void collective_choose_device();
  [[nodiscard]] Numerics numerics();
  [[nodiscard]] std::string advice_digest() const {
    return Advice::load(config().evaluate.advice).digest();
  }
  void begin();
  [[nodiscard]] ProgressRecord first_progress() const;
  [[nodiscard]] std::string stuck(const std::string& stopped) const;
  void say_how_it_ended(const std::string& word, ExitCode code, const std::string& text);
  ExitCode collective_work();
  void collective_analyse(std::vector<TrainedSae>& trained);
  void collective_explain(const std::vector<TrainedSae>& trained);
  [[nodiscard]] PartsDone tell(const char* stage);
  void require_gemm_self_test();
  void collective_say_memory();

  Session session_;
  Communicator& world_;
  RunOptions options_;
  RolePlan roles_;
  std::string trains_on_ = "cpu";
  Device device_;                             // of this rank's training
  int training_ranks_;                        // also when this command ends before training
  std::optional<Claim> claim_;                // world rank 0
  std::unique_ptr<Ledger> ledger_;            // world rank 0
  std::unique_ptr<ProgressKeeper> progress_;  // world rank 0, from begin() on
  std::optional<Deadline> deadline_;          // world rank 0
  std::optional<FrozenRun> frozen_;           // as the last accepted start left it
  RunInputs found_;
  double began_s_ = monotonic_s();
  std::uint64_t attempt_ = 0;
  bool progressed_ = false;  // world rank 0
};

// Everything a finished run has, made with these settings.
bool Attempt::already_done(const RunState& state) const {
  if (options_.until != Until::report || !frozen_) return false;
  const std::optional<RunStatus> status = read_status(folder().status());
  if (!status || status->word != "done" || status->text != options_.command) return false;
  return store_is_whole(folder(), state) &&
         std::ranges::all_of(
             config().saes,
             [&](const SaeConfig& sae) { return sae_is_whole(folder(), state, sae.name); }) &&
         results_settings(frozen_->config) == results_settings(config()) &&
         frozen_->inputs.advice == advice_digest() &&
         unfinished_part(config(), folder(), state).empty();
}

// What has been computed must fit what is asked for now. What nothing depends on yet may change.
void Attempt::expect_same_settings(const RunState& state) {
  if (!frozen_) return;
  refuse_difference(folder(),
                    frozen_difference(frozen_->config, config(), store_exists(folder(), state),
                                      !state.checkpoints.empty()));
  if (state.checkpoints.empty() || options_.allow_numerics_change) return;
  const std::string changed = training_difference(frozen_->numerics, numerics());
  if (!changed.empty()) throw other_numerics(folder().root, changed);
}

void Attempt::expect_same_inputs(const RunState& state) const {
  if (!frozen_ || !store_exists(folder(), state)) return;
  if (frozen_->inputs.model_digest != found_.model_digest)
    refuse_difference(folder(),
                      fmt::format("model: the content of {} has digest {}, was {}", config().model,
                                  found_.model_digest, frozen_->inputs.model_digest));
  refuse_difference(folder(), corpus_difference(folder().corpus(), found_.corpus));
}

// The run is claimed, so whoever wrote `running` has ended.
void Attempt::say_if_crashed() const {
  const std::optional<RunStatus> status = read_status(folder().status());
  if (!status || status->word != "running") return;
  warn(fmt::format(
      "attempt {} of {} ended without a word (killed, or its node failed); what the ledger of {} "
      "names is kept, and the run goes on from there",
      status->attempt, status->job, folder().root.string()));
}

// World rank 0. Says what is finished, or nothing when there is work. Until here nothing is
// written.
std::string Attempt::take_over() {
  claim_.emplace(claim_run(folder()));
  say_if_crashed();
  const RunState state = read_ledger(folder().ledger());
  if (fs::exists(folder().run_yaml())) frozen_ = read_frozen(folder().run_yaml());
  expect_same_settings(state);
  const Droppable droppable;  // it may hash for long
  found_ = session_.run().find_inputs(options_.until == Until::tokenize ? Asks::corpus
                                                                        : Asks::everything);
  found_.claim = claim_->mark();
  found_.own_store = frozen_ && !state.calibration.empty();
  expect_same_inputs(state);
  attempt_ = state.attempts.size() + 1;
  if (!already_done(state)) return "";
  return fmt::format("{} is finished; nothing to do. The report is {}", folder().root.string(),
                     (folder().root / config().report.file).string());
}

// The kernel a run was begun with computes it to the end, also on a newer processor.
void Attempt::collective_use_frozen_kernel() {
  std::string kernel;
  if (root() && frozen_ && fs::exists(folder().calibration()) && !options_.allow_numerics_change)
    kernel = frozen_->numerics.gemm;
  world_.broadcast_string(kernel, 0);
  if (kernel.empty() || use_gemm_kernel(kernel)) return;
  throw SystemError(
      "the run in {} was begun with '{}', which {} cannot run (it has '{}'). Start it on a node "
      "like the first, or go on with other bytes: --allow-numerics-change.",
      folder().root.string(), kernel, host_name(), gemm_backend_description());
}

void Attempt::collective_choose_device() {
  const bool trains = roles_.roles[static_cast<std::size_t>(world_.rank())].contains(Role::train);
  Communicator trainers = world_.split(trains ? 1 : 0, world_.rank());
  if (trains) device_ = collective_training_device(config(), trainers);
  // The same on every rank that trains; one of them tells rank 0, which need not be one.
  const std::uint64_t cuda = world_.all_reduce_max(device_.kind == DeviceKind::cuda ? 1 : 0);
  trains_on_ = cuda != 0 ? "cuda" : "cpu";
}

// What a command that does not train has no say in stays as it was.
Numerics Attempt::numerics() {
  Numerics now = current_numerics(config(), session_.run().model_info(), training_ranks_);
  now.device = trains_on_;
  if (options_.until > Until::extract || !frozen_) return now;
  now.device = frozen_->numerics.device;
  now.reduction = frozen_->numerics.reduction;
  now.exchange = frozen_->numerics.exchange;
  now.ranks = frozen_->numerics.ranks;
  return now;
}

void Attempt::begin() {
  session_.run().expect_own();
  write_status(folder().status(), {"running", job_name(), attempt_, 0, ""});
  write_file(folder().corpus(), corpus_text(session_.run().inputs().corpus));
  write_file(folder().run_yaml(),
             frozen_text({.config = config(),
                          .inputs = {session_.folder().model_name(),
                                     session_.run().inputs().model_digest, advice_digest()},
                          .numerics = numerics()}));
  ledger_ = std::make_unique<Ledger>(folder().ledger(), [this] { session_.run().expect_own(); });
  ledger_->attempt_started({.attempt = attempt_,
                            .job = job_name(),
                            .host = host_name(),
                            .started = utc_now(),
                            .ended = "",
                            .outcome = "",
                            .ranks = world_.size()});
  progress_ = std::make_unique<ProgressKeeper>(folder().progress(), first_progress(),
                                               [this] { session_.run().expect_own(); });
}

ProgressRecord Attempt::first_progress() const {
  ProgressRecord record{
      .attempt = attempt_,
      .job = job_name(),
      .host = host_name(),
      .hosts = options_.hosts,
      .ranks = world_.size(),
      .command = options_.command,
      .log = log_of_this_job(),
      .started = utc_now(),
      .time = {},
      .ended = false,
      .now = {{.stage = "start", .what = "starting", .share = {}, .rate = {}, .unit = {}}},
      .stages = {},
      .overlaps = roles_.split,
      .allocation_end = options_.time.allocation_end,
      .rates = {},
      .disk_max_bytes = config().disk.max_bytes.value,
      .disk = {}};
  const auto add = [&](Until from, const char* stage, std::optional<std::uint64_t> of) {
    if (options_.until >= from)
      record.stages.push_back({.stage = stage, .done = 0, .of = of, .part = 0, .unit_s = {}});
  };
  add(Until::tokenize, "download", {});
  add(Until::tokenize, "tokenize", {});
  add(Until::extract, "extract", {});
  add(Until::train, "train", {});
  add(Until::evaluate, "evaluate", config().saes.size());
  add(Until::probe, "probe", config().saes.size());
  return record;
}

// The rank that fails may not be rank 0, which then has no time left to say it.
void Attempt::say_how_it_ended(const std::string& word, ExitCode code, const std::string& text) {
  try {
    session_.run().expect_own();
    write_status(folder().status(), {word, job_name(), attempt_, static_cast<int>(code), text});
    if (ledger_) ledger_->attempt_ended(attempt_, word == "done" ? word : text);
  } catch (const Error&) {  // a full disk, another owner: the first error is the one to report
  }
}

// An attempt that made nothing would be repeated for ever.
std::string Attempt::stuck(const std::string& stopped) const {
  return fmt::format(
      "{}, but nothing was finished in the {} of this attempt: give it more time, or smaller "
      "pieces (store.block_rows, train.batch_rows, checkpoint.every_s)",
      stopped, human_seconds(monotonic_s() - began_s_));
}

ExitCode Attempt::collective_run() {
  std::string finished;
  collective_choose_device();
  if (root()) finished = take_over();
  world_.broadcast_string(finished, 0);
  if (!finished.empty()) {
    if (root()) say(finished);
    return ExitCode::ok;
  }
  session_.collective_open(found_);
  world_.broadcast(std::span<std::uint64_t>(&attempt_, 1), 0);
  collective_use_frozen_kernel();
  if (root()) begin();
  world_.barrier();
  try {
    const ExitCode code = collective_work();
    if (root()) say_how_it_ended("done", ExitCode::ok, options_.command);
    return code;
  } catch (const StopRequested& stopped) {
    if (root()) {
      const std::string text = progressed_ ? stopped.what() : stuck(stopped.what());
      say_how_it_ended(progressed_ ? "resume" : "stuck", ExitCode::resume, text);
      say(text);
    }
    return ExitCode::resume;
  } catch (const Error& error) {
    say_how_it_ended("failed", error.code(), error.what());
    throw;
  } catch (const std::exception& error) {
    say_how_it_ended("failed", ExitCode::system, error.what());
    throw;
  }
}

void Attempt::require_gemm_self_test() {
  const GemmSelfTest self_test = gemm_self_test();
  if (!self_test.passed)
    throw NumericalError(
        "the GEMM backend ({}) gives a row other bytes depending on the rows beside it: {}. "
        "Results would depend on the rank count. The processor or the compiler is at fault: build "
        "again on this machine and ask `refract doctor`; if it says the same, use another machine.",
        gemm_backend_description(), self_test.difference);
}

// For the next job script.
void Attempt::collective_say_memory() {
  const std::uint64_t mine = peak_memory_bytes();
  const std::vector<std::uint64_t> all = world_.all_gather(std::span(&mine, 1));
  const auto [least, most] = std::ranges::minmax(all);
  if (!root()) return;
  if (world_.size() == 1)
    say(fmt::format("memory: {} at its peak", human_bytes(most)));
  else
    say(fmt::format("memory: {} to {} on a rank at its peak", human_bytes(least),
                    human_bytes(most)));
}

ExitCode Attempt::collective_work() {
  const Watchdog watchdog =
      Watchdog::collective_start(world_, folder().root / "alive", config().pipeline.watchdog_s);
  require_gemm_self_test();
  std::unique_ptr<Coordinator> coordinator;
  if (root())
    coordinator = std::make_unique<Coordinator>(session_, world_, roles_, *ledger_, *deadline_,
                                                *progress_, options_.until == Until::tokenize);
  Worker worker(session_, world_, roles_, device_, [&] {
    if (!coordinator) return;
    coordinator->poll();
    progressed_ = coordinator->progressed();
  });
  if (worker.collective_work()) throw_stopped();
  if (root() && world_.size() > 1) say(coordinator->board().summary(monotonic_s()));
  collective_say_memory();
  if (options_.until >= Until::evaluate) collective_analyse(worker.saes());
  world_.barrier();
  if (options_.until <= Until::extract) return ExitCode::ok;
  const std::uint64_t wanted = wanted_rows(config()), rows = session_.corpus().order().rows();
  if (rows / config().train.batch_rows < wanted / config().train.batch_rows)
    throw DataError(
        "the corpus ended after {} rows; train.tokens asked for {}. What was found was trained on "
        "and sealed, with the learning rates of a longer run. For a run of this length start one "
        "in another folder with train.tokens: {}.",
        rows, wanted, rows);
  return ExitCode::ok;
}

PartsDone Attempt::tell(const char* stage) {
  if (!root()) return {};
  return [this, stage, of = config().saes.size()](std::uint64_t done) {
    progress_->parts_done(stage, done);
    if (done < of) progress_->at_work(stage, fmt::format("{} {} of {}", stage, done + 1, of));
  };
}

void Attempt::collective_analyse(std::vector<TrainedSae>& trained) {
  if (root() &&
      (trained.size() != config().saes.size() || !std::ranges::all_of(trained, is_whole_on_host))) {
    trained.clear();
    trained = load_newest(session_, ledger_->state());
  }
  const bool has_model =
      roles_.roles[static_cast<std::size_t>(world_.rank())].contains(Role::extract);
  collective_evaluate_run(session_, ledger_.get(), trained, has_model, world_, progressed_,
                          tell("evaluate"));
  if (options_.until >= Until::probe) collective_explain(trained);
}

// On world rank 0, while the others sleep: it may use their cores.
void Attempt::collective_explain(const std::vector<TrainedSae>& trained) {
  std::uint64_t stopped = 0;
  if (root()) {
    working("probe and report");
    const int threads = thread_count();
    if (world_.size() > 1) set_thread_count(usable_cores());
    try {
      progress_->at_work("probe", "probe");
      progressed_ |= complete_evidence(session_, ledger_->state().sealed);
      probe_run(session_, *ledger_, trained, progressed_, tell("probe"));
      if (options_.until >= Until::report) {
        progress_->at_work("report", "report");
        report_run(config(), folder(), *ledger_, report_facts(config(), ledger_->state()));
      }
    } catch (const StopRequested&) {
      stopped = 1;
    }
    set_thread_count(threads);
  }
  if (world_.all_reduce_max(stopped)) throw_stopped();
}

}  // namespace

ExitCode collective_run(const RunConfig& config, Communicator& world, const RunOptions& options) {
  return Attempt(config, world, options).collective_run();
}

void collective_report(const RunConfig& config, Communicator& world) {
  if (world.rank() == 0) {
    const Session session(config, world);
    const RunFolder& folder = session.folder();
    const Claim claim = claim_existing_run(folder);
    const RunState state = read_ledger(folder.ledger());
    if (fs::exists(folder.run_yaml()))
      refuse_difference(folder,
                        frozen_difference(read_frozen(folder.run_yaml()).config, config,
                                          store_exists(folder, state), !state.checkpoints.empty()));
    Ledger ledger(folder.ledger(), [&] { expect_own(claim.mark()); });
    report_run(config, folder, ledger, report_facts(config, ledger.state()));
  }
  world.barrier();
}

namespace {

// What all ranks found, on every rank.
VerifyResult collective_merge(const VerifyResult& mine, Communicator& world) {
  std::vector<std::uint64_t> counts{mine.identities, mine.blocks, mine.recomputed_rows};
  world.all_reduce_sum(counts);
  VerifyResult all{counts[0], counts[1], counts[2], {}};
  std::string faults;
  for (const std::string& fault : mine.faults) faults += fault + "\n";
  const std::vector<char> texts = world.all_gather(std::span<const char>(faults));
  std::istringstream lines(std::string(texts.begin(), texts.end()));
  VerifyResult found;
  for (std::string line; std::getline(lines, line);) found.faults.push_back(line);
  all.add(found);
  return all;
}

}  // namespace

void collective_verify(const RunConfig& config, Communicator& world) {
  Session session(config, world);
  std::optional<Claim> claim;
  RunInputs found;
  if (world.rank() == 0) {
    claim.emplace(claim_existing_run(session.folder()));
    if (!fs::exists(session.folder().heldout()))
      throw DataError("{} holds no activation store yet: run first",
                      session.folder().root.string());
    found = session.run().find_inputs();
    found.claim = claim->mark();
  }
  session.collective_open(found);
  RunCorpus& corpus = session.corpus();
  std::string admitted;
  if (world.rank() == 0) {
    while (!corpus.complete()) (void)corpus.admit_next_shard();
    admitted = to_json(corpus.admitted_since(0)).dump();
  }
  world.broadcast_string(admitted, 0);
  if (world.rank() != 0) corpus.admit(admitted_from(Json::parse(admitted)));
  const VerifyShare share{world.rank(), world.size()};
  corpus.verify(share);
  session.store().open();
  BlockComputer computer(session.run().model(), session.run().hooks(), corpus.tokens(),
                         session.store().sink_thresholds());
  const VerifyRule rule{.recomputed_rows = 1000, .seed = config.store.seed};
  const Parents parents{{"store", session.store().digest()}};
  const RunState state = read_ledger(session.folder().ledger());
  VerifyResult result;
  const auto verify = [&](const fs::path& file,
                          const std::function<BlockPlan(std::uint64_t)>& plan_of) {
    verify_chunk(ChunkReader(file, parents, ChunkReader::Checks::none), plan_of, corpus.tokens(),
                 computer, rule, share, result);
  };
  const auto plan_of = [&](std::uint64_t chunk, std::uint64_t block) {
    return corpus.plan_block(corpus.order().chunk_shape(chunk), block);
  };
  const HeldoutPlan heldout = corpus.plan_heldout();
  verify(session.folder().heldout(), [&](std::uint64_t b) { return heldout.blocks.at(b); });
  const EvidencePlan evidence = plan_evidence(session);
  const bool has_evidence = fs::exists(session.folder().evidence());
  if (has_evidence)
    verify(session.folder().evidence(), [&](std::uint64_t b) {
      return plan_of(evidence.blocks.at(b).chunk, evidence.blocks.at(b).block);
    });
  else if (std::ranges::any_of(config.saes, [&](const SaeConfig& sae) {
             return state.finished.contains("probe/" + sae.name);
           }))
    result.faults.push_back(session.folder().evidence().string() +
                            ": is missing, and features were probed from it");
  for (const auto& [chunk, record] : state.sealed)
    verify(session.folder().chunk(chunk), [&](std::uint64_t b) { return plan_of(chunk, b); });
  const VerifyResult all = collective_merge(result, world);
  if (!all.faults.empty())
    throw DataError(
        "verification found {} fault(s), the first: {}. Delete that file and start the run again: "
        "it is made again.",
        all.faults.size(), all.faults.front());
  if (world.rank() != 0) return;
  say(
      fmt::format("verified: {} row identities, {} block checksums, {} rows recomputed byte for "
                  "byte in {} file(s)",
                  all.identities, all.blocks, all.recomputed_rows,
                  state.sealed.size() + 1 + (has_evidence ? 1 : 0)));
}

}  // namespace refract
