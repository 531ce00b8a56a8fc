#include "refract/pipeline/checkpoints.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <sstream>
#include <thread>
#include <unordered_set>

#include "pipeline/checkpoint_files.hpp"
#include "pipeline/exports.hpp"
#include "pipeline/metrics_log.hpp"
#include "pipeline/retention.hpp"
#include "pipeline/staged_folder.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/pipeline/session.hpp"

namespace refract {
namespace {

// Beside the checkpoints' folders: the rule that they obey.
constexpr const char* kKeepRule = "keep";
constexpr int kSettled = 1;  // tag: a rank's part of the pending checkpoint is on its disk

std::string folder_name(const TrainingPosition& position, bool complete) {
  const std::string visit = chunk_name(complete ? position.visit - 1 : position.visit);
  return complete ? visit : fmt::format("{}.step-{:06}", visit, position.steps_in_visit);
}

std::vector<std::string> names_of(const std::vector<SaeConfig>& saes) {
  std::vector<std::string> names;
  for (const SaeConfig& sae : saes) names.push_back(sae.name);
  return names;
}

}  // namespace

CheckpointedRun checkpointed_run(Session& session) {
  std::vector<std::size_t> all(session.config().saes.size());
  std::iota(all.begin(), all.end(), 0U);
  return checkpointed_run(session, all);
}

CheckpointedRun checkpointed_run(Session& session, const std::vector<std::size_t>& saes) {
  const RunConfig& config = session.config();
  std::vector<SaeConfig> own;
  for (const std::size_t i : saes) own.push_back(config.saes[i]);
  CheckpointedRun run{
      .config = config,
      .folder = session.folder(),
      .store = session.store().digest(),
      .saes = own,
      .training_digests = {},
      .visits = [&session] { return session.plan().visits; },
      .initial =
          [&session, own] {
            return make_trained_saes(
                own, session.store().calibration(),
                dead_threshold(session.config().store.chunk_rows, session.plan().rows));
          },
      .expect_own = [&session] { session.run().expect_own(); },
      .model = {model_public_name(config, session.run().model_info().name_or_path,
                                  session.folder().model_name()),
                session.run().model_info().family}};
  for (const std::size_t i : saes) run.training_digests.push_back(session.training_digest(i));
  return run;
}

Checkpoints::Checkpoints(CheckpointedRun run, Communicator& ranks, Communicator& all_ranks,
                         Announce announce)
    : run_(std::move(run)), ranks_(ranks), all_ranks_(all_ranks), announce_(std::move(announce)) {}
Checkpoints::Checkpoints(CheckpointedRun run, Communicator& ranks, Announce announce)
    : Checkpoints(std::move(run), ranks, ranks, std::move(announce)) {}
Checkpoints::~Checkpoints() = default;

fs::path Checkpoints::folder_of(const SaeConfig& sae, const std::string& checkpoint) const {
  return run_.folder.checkpoints(sae.name) / checkpoint;
}

// Saving.

StagedFolder Checkpoints::collective_stage_checkpoint(std::size_t i, TrainedSae& sae,
                                                      const TrainingPosition& position,
                                                      const std::string& metrics, bool exports,
                                                      StepRunner& runner) {
  const bool root = ranks_.rank() == 0;
  StagedFolder staged{folder_of(sae.config, saved_.folder), {}, exports};
  CheckpointFacts facts{.position = position,
                        .training_digest = run_.training_digests[i],
                        .metrics_line = metrics,
                        .metrics = {}};
  if (root) {
    staged = stage_folder(staged.final_name);
    staged.exported = exports;
    if (saved_.complete) metrics_[i].add(metrics);
    facts.metrics = metrics_[i].mark();
  }
  staged.files = collective_write_checkpoint_files(staged.made(), sae, facts, runner,
                                                   saved_.saes[sae.config.name]);
  if (exports)
    std::ranges::move(
        collective_write_export(staged.made(), run_, sae, DType::bf16, metrics, runner),
        std::back_inserter(staged.files));
  return staged;
}

void Checkpoints::collective_save(const TrainingPosition& position, Reason reason,
                                  const std::vector<std::string>& metrics,
                                  std::vector<TrainedSae>& saes, StepRunner& runner) {
  REFRACT_ASSERT(!pending(), "a checkpoint is pending");
  const bool complete = reason == Reason::visit_done, root = ranks_.rank() == 0;
  saved_ = {.visit = complete ? position.visit - 1 : position.visit,
            .steps_in_visit = position.steps_in_visit,
            .complete = complete,
            .folder = folder_name(position, complete),
            .saes = {},
            .store = position.store_running};
  std::uint64_t wish = 0;  // what rank 0 knows
  if (root) {
    const bool old = monotonic_s() - latest_s_ > run_.config.checkpoint.every_s;
    if (complete && keeps_export(keep_rule(run_.config), saved_.visit, run_.visits())) wish |= 1;
    if (reason == Reason::stop || old || position.visit == run_.visits()) wish |= 2;
  }
  wish = ranks_.all_reduce_max(wish);
  std::vector<StagedFolder> staged;
  for (std::size_t i = 0; i < saes.size(); ++i) {
    runner.collective_finish(saes[i]);
    staged.push_back(collective_stage_checkpoint(
        i, saes[i], position, root && complete ? metrics.at(i) : "", (wish & 1) != 0, runner));
  }
  if ((wish & 2) != 0) {
    for (std::size_t i = 0; i < saes.size(); ++i)
      staged.push_back(
          collective_stage_latest(run_, saes[i], root && complete ? metrics.at(i) : "", runner));
    latest_s_ = monotonic_s();
  }
  start_helper(std::move(staged), root && complete ? metrics : std::vector<std::string>());
}

void Checkpoints::start_helper(std::vector<StagedFolder> staged, std::vector<std::string> lines) {
  const bool root = ranks_.rank() == 0;
  std::vector<fs::path> logs;
  for (const MetricsLog& log : metrics_) logs.push_back(log.file());
  settled_ = 0;
  all_settled_ = ranks_.size() == 1;
  helper_.start([this, root, staged = std::move(staged), logs = std::move(logs),
                 lines = std::move(lines)](const std::function<void()>& go_on) mutable {
    using namespace std::chrono_literals;
    for (const StagedFolder& folder : staged) settle_files(folder, go_on);
    if (!root) return;
    for (; !all_settled_; std::this_thread::sleep_for(500us)) go_on();
    for (StagedFolder& folder : staged) give_final_name(folder, run_.expect_own, go_on);
    for (std::size_t i = 0; i < lines.size(); ++i) MetricsLog::append(logs[i], lines[i]);
  });
}

void Checkpoints::poll() {
  if (!helper_.busy()) return;
  const bool root = ranks_.rank() == 0;
  if (root && !all_settled_) {
    while (ranks_.try_receive(kSettled)) ++settled_;
    if (settled_ == ranks_.size() - 1) all_settled_ = true;
  }
  if (!helper_.ended()) return;
  helper_.take_end();
  if (!root) return ranks_.send(0, kSettled, "");
  announce_(saved_);
  announced_.push_back(std::move(saved_));
}

void Checkpoints::prune() {
  REFRACT_ASSERT(!announced_.empty(), "no checkpoint was announced");
  remove(retention_->add(announced_.front(), run_.visits()));
  announced_.pop_front();
}

void Checkpoints::remove(const std::vector<Superseded>& superseded) {
  for (const Superseded& old : superseded)
    for (const SaeConfig& sae : run_.saes) {
      const fs::path folder = folder_of(sae, old.folder);
      if (old.everything) remove_all_quietly(folder);
      if (old.trainer_state) remove_all_quietly(folder / kTrainerState);
      if (old.exports)
        for (const char* file : kExportFiles) remove_all_quietly(folder / file);
    }
}

// Restoring.

void load_checkpoint(const CheckpointedRun& run, const CheckpointRecord& record,
                     std::vector<TrainedSae>& saes) {
  Stream stream;
  for (std::size_t i = 0; i < saes.size(); ++i) {
    const fs::path folder = run.folder.checkpoints(saes[i].config.name) / record.folder;
    const FeatureRange all{0, saes[i].config.d_sae};
    const ReadPanels read =
        read_checkpoint_files(folder, record, run.training_digests[i], {all, all}, stream, saes[i]);
    expect_whole(folder, read.whole, read.panels);
  }
}

std::vector<TrainedSae> load_newest(Session& session, const RunState& state) {
  const CheckpointedRun run = checkpointed_run(session);
  std::vector<TrainedSae> saes = run.initial();
  std::string cause = "the ledger names none";
  const std::vector<CheckpointRecord> records = state.checkpoints_of(names_of(run.saes));
  for (auto record = records.rbegin(); record != records.rend(); ++record) {
    if (!record->complete) continue;
    try {
      load_checkpoint(run, *record, saes);
      return saes;
    } catch (const Damaged& error) {
      cause = error.what();
    }
  }
  throw DataError("no checkpoint of {} can be read ({})", session.folder().root.string(), cause);
}

// What each rank trains of one checkpoint, and rank 0 looks whether what all have read is what was
// written. Empty, or why it is not; on other ranks than the one that knows: that it is not.
std::string Checkpoints::collective_read(const CheckpointRecord& record,
                                         std::vector<TrainedSae>& saes, StepRunner& runner) {
  std::string cause;
  const auto try_all = [&](const auto& body) {
    try {
      for (std::size_t i = 0; cause.empty() && i < saes.size(); ++i) body(i);
    } catch (const Damaged& error) {
      cause = error.what();
    }
    if (all_ranks_.all_reduce_max(cause.empty() ? 0 : 1) != 0 && cause.empty())
      cause = "another rank cannot read it";
    return cause.empty();
  };
  std::vector<ReadPanels> read(saes.size());
  const bool could = try_all([&](std::size_t i) {
    read[i] = read_checkpoint_files(
        folder_of(saes[i].config, record.folder), record, run_.training_digests[i],
        runner.held_features(saes[i].config.d_sae), runner.stream(), saes[i]);
  });
  if (!could) return cause;
  for (ReadPanels& part : read)
    part.panels = ranks_.gather(std::span<const PanelDigest>(part.panels), 0);
  (void)try_all([&](std::size_t i) {
    if (ranks_.rank() == 0)
      expect_whole(folder_of(saes[i].config, record.folder), read[i].whole, read[i].panels);
  });
  return cause;
}

// The one that was loaded; `records` of rank 0 then ends with it. Rank 0 names one after the other,
// from the newest.
std::optional<CheckpointRecord> Checkpoints::collective_load(std::vector<CheckpointRecord>& records,
                                                             std::vector<TrainedSae>& saes,
                                                             StepRunner& runner,
                                                             Restored& restored) {
  for (bool touched = false;; touched = true) {
    std::string text = records.empty() ? "" : to_text(records.back());
    ranks_.broadcast_string(text, 0);
    if (text.empty()) {
      if (touched) {  // what was read in part must not be trained on
        saes = run_.initial();
        for (TrainedSae& sae : saes) runner.take_tile(sae);
      }
      return std::nullopt;
    }
    const CheckpointRecord record = checkpoint_record_from(text);
    const std::string cause = collective_read(record, saes, runner);
    if (cause.empty()) return record;
    if (ranks_.rank() == 0) {
      if (all_ranks_.rank() == 0)
        warn(fmt::format("checkpoint {} cannot be used ({}); going back to the one before",
                         record.folder, cause));
      if (all_ranks_.rank() == 0) restored.withdrawn.push_back({record, cause});
      records.pop_back();
    }
  }
}

Checkpoints::Restored Checkpoints::collective_restore(std::vector<TrainedSae>& saes,
                                                      StepRunner& runner) {
  const bool root = ranks_.rank() == 0;
  Restored restored{.position = {.visit = 0, .steps_in_visit = 0, .store_running = run_.store},
                    .withdrawn = {}};
  std::vector<CheckpointRecord> records;
  // Of the whole run: groups go on from the same one.
  if (root) records = read_ledger(run_.folder.ledger()).checkpoints_of(sae_names(run_.config));
  const std::optional<CheckpointRecord> loaded = collective_load(records, saes, runner, restored);
  if (loaded)
    restored.position = {.visit = loaded->complete ? loaded->visit + 1 : loaded->visit,
                         .steps_in_visit = loaded->complete ? 0 : loaded->steps_in_visit,
                         .store_running = loaded->store};
  std::uint64_t wish = 0;  // what rank 0 knows
  if (root) {
    tidy(records);
    if (loaded && loaded->complete &&
        keeps_export(keep_rule(run_.config), loaded->visit, run_.visits()))
      wish |= 1;
    if (loaded && restored.position.visit == run_.visits()) wish |= 2;
  }
  wish = ranks_.all_reduce_max(wish);
  const auto metrics_of = [&](const TrainedSae& sae) {
    const fs::path folder = folder_of(sae.config, loaded->folder);
    return root ? recorded_metrics(read_trainer_metadata(folder), folder) : "";
  };
  if ((wish & 1) != 0)
    for (const TrainedSae& sae : saes)
      collective_mend_export(folder_of(sae.config, loaded->folder), run_, sae, metrics_of(sae),
                             runner);
  latest_s_ = monotonic_s();
  if ((wish & 2) != 0)
    for (const TrainedSae& sae : saes) {
      StagedFolder latest = collective_stage_latest(run_, sae, metrics_of(sae), runner);
      settle_files(latest);
      ranks_.barrier();
      if (root) give_final_name(latest, run_.expect_own);
    }
  ranks_.barrier();
  return restored;
}

// What a kill left half done, or somebody changed, around the newest of `records`.
void Checkpoints::tidy(const std::vector<CheckpointRecord>& records) {
  run_.expect_own();
  remove_unnamed(records);
  metrics_.clear();
  for (std::size_t i = 0; i < run_.saes.size(); ++i) restore_metrics(i, records);
  apply_keep_rule(records);
}

// One listing. A checkpoint within a chunk is named until there is a newer one.
void Checkpoints::remove_unnamed(const std::vector<CheckpointRecord>& records) {
  std::unordered_set<std::string> named{kKeepRule};
  for (const CheckpointRecord& record : records)
    if (record.complete || &record == &records.back()) named.insert(record.folder);
  for (const SaeConfig& sae : run_.saes) {
    const fs::path folder = run_.folder.checkpoints(sae.name);
    make_folder(folder);
    std::unordered_set<std::string> missing = named;
    missing.erase(kKeepRule);
    std::vector<fs::path> unnamed;
    for (const auto& entry : fs::directory_iterator(folder)) {
      missing.erase(entry.path().filename());
      if (!named.contains(entry.path().filename())) unnamed.push_back(entry.path());
    }
    for (const fs::path& path : unnamed) remove_all_quietly(path);
    remove_all_quietly(part_name(run_.folder.latest(sae.name)));
    if (!missing.empty())
      warn(
          fmt::format("{} lacks {} of the folders that the ledger names, such as {}; what was in "
                      "them cannot be made again",
                      folder.string(), missing.size(), *std::ranges::min_element(missing)));
  }
}

// By the newest checkpoint alone where the file is what that says; else from all of them.
void Checkpoints::restore_metrics(std::size_t i, const std::vector<CheckpointRecord>& records) {
  const SaeConfig& sae = run_.saes[i];
  MetricsLog& log = metrics_.emplace_back(run_.folder.metrics(sae.name));
  try {
    MetricsMark mark{0, sha256_hex("")};
    if (!records.empty()) {
      const fs::path folder = folder_of(sae, records.back().folder);
      mark = recorded_mark(read_trainer_metadata(folder), folder);
    }
    if (log.resume(mark)) return;
  } catch (const Damaged&) {  // of a refract that did not say it
  }
  std::error_code ignored;
  std::istringstream old(fs::exists(log.file(), ignored) ? read_file(log.file()) : std::string());
  std::string text, old_line;
  for (const CheckpointRecord& record : records) {
    if (!record.complete) continue;
    const bool known = static_cast<bool>(std::getline(old, old_line));
    const fs::path folder = folder_of(sae, record.folder);
    try {
      text += recorded_metrics(metadata_named(record, sae.name, folder), folder) + "\n";
    } catch (const Damaged& error) {  // of an old checkpoint, which nothing else needs
      warn(fmt::format("{}; its line of {} is {}", error.what(), log.file().string(),
                       known ? "left as it is" : "lost"));
      if (known) text += old_line + "\n";
    }
  }
  if (!old.str().starts_with(text))
    warn(
        fmt::format("{} lacked lines that were written, or held others; it is written again from "
                    "the checkpoints",
                    log.file().string()));
  log.rewrite(text);
}

// What the newest supersedes goes once more, since a kill may have come before; what older ones
// supersede is gone, unless the rule was another then.
void Checkpoints::apply_keep_rule(const std::vector<CheckpointRecord>& records) {
  const KeepRule rule = keep_rule(run_.config);
  const std::string text = run_.config.checkpoint.keep + "\n";
  bool same = true;
  for (const SaeConfig& sae : run_.saes) {
    std::error_code ignored;
    const fs::path file = folder_of(sae, kKeepRule);
    same = same && fs::exists(file, ignored) && read_file(file) == text;
  }
  if (!same) {
    if (!records.empty()) remove(superseded_by_last(rule, records, run_.visits()));
    for (const SaeConfig& sae : run_.saes) write_file(folder_of(sae, kKeepRule), text);
  }
  retention_ = std::make_unique<Retention>(rule);
  std::size_t first = records.size(), complete = 0;
  while (first > 0 && complete <= retention_->reach())
    complete += records[--first].complete ? 1 : 0;
  for (; first < records.size(); ++first)
    if (records[first].complete || first + 1 == records.size())
      remove(retention_->add(records[first], run_.visits()));
}

}  // namespace refract
