#include "refract/pipeline/checkpoints.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
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

std::string folder_name(const TrainingPosition& position, bool complete) {
  const std::string visit = chunk_name(complete ? position.visit - 1 : position.visit);
  return complete ? visit : fmt::format("{}.step-{:06}", visit, position.steps_in_visit);
}

}  // namespace

CheckpointedRun checkpointed_run(Session& session) {
  const RunConfig& config = session.config();
  CheckpointedRun run{
      .config = config,
      .folder = session.folder(),
      .store = session.store().digest(),
      .training_digests = {},
      .visits = [&session] { return session.plan().visits; },
      .initial =
          [&session] {
            return make_trained_saes(
                session.config().saes, session.store().calibration(),
                dead_threshold(session.config().store.chunk_rows, session.plan().rows));
          },
      .expect_own = [&session] { session.run().expect_own(); }};
  for (std::size_t i = 0; i < config.saes.size(); ++i)
    run.training_digests.push_back(session.training_digest(i));
  return run;
}

Checkpoints::Checkpoints(CheckpointedRun run, Communicator& ranks, Announce announce)
    : run_(std::move(run)), ranks_(ranks), announce_(std::move(announce)) {}
Checkpoints::~Checkpoints() = default;

fs::path Checkpoints::folder_of(const SaeConfig& sae, const std::string& checkpoint) const {
  return run_.folder.checkpoints(sae.name) / checkpoint;
}

// Saving.

StagedFolder Checkpoints::stage_checkpoint(std::size_t i, TrainedSae& sae,
                                           const TrainingPosition& position,
                                           const std::string& metrics, CheckpointRecord& record) {
  StagedFolder staged = stage_folder(folder_of(sae.config, record.folder));
  if (record.complete) metrics_[i].add(metrics);
  staged.files = write_checkpoint_files(staged.made(), sae,
                                        {.position = position,
                                         .training_digest = run_.training_digests[i],
                                         .metrics_line = metrics,
                                         .metrics = metrics_[i].mark()},
                                        record.saes[sae.config.name]);
  if (record.complete && keeps_export(keep_rule(run_.config), record.visit, run_.visits()))
    std::ranges::move(write_export(staged.made(), run_, sae, DType::bf16),
                      std::back_inserter(staged.files));
  return staged;
}

void Checkpoints::collective_save(const TrainingPosition& position, Reason reason,
                                  const std::vector<std::string>& metrics,
                                  std::vector<TrainedSae>& saes, StepRunner& runner) {
  REFRACT_ASSERT(!pending(), "a checkpoint is pending");
  std::vector<TrainedSae> gathered;
  for (TrainedSae& sae : saes) {
    runner.collective_finish(sae);
    gathered.push_back(runner.holds_whole(sae) ? std::move(sae) : runner.collective_on_host(sae));
  }
  if (ranks_.rank() == 0) {
    const bool complete = reason == Reason::visit_done;
    saved_ = {.visit = complete ? position.visit - 1 : position.visit,
              .steps_in_visit = position.steps_in_visit,
              .complete = complete,
              .folder = folder_name(position, complete),
              .saes = {},
              .store = position.store_running};
    std::vector<StagedFolder> staged;
    for (std::size_t i = 0; i < saes.size(); ++i)
      staged.push_back(
          stage_checkpoint(i, gathered[i], position, complete ? metrics.at(i) : "", saved_));
    const bool old = monotonic_s() - latest_s_ > run_.config.checkpoint.every_s;
    if (reason == Reason::stop || old || position.visit == run_.visits()) {
      for (const TrainedSae& sae : gathered) staged.push_back(stage_latest(run_, sae));
      latest_s_ = monotonic_s();
    }
    std::vector<fs::path> logs;
    for (const MetricsLog& log : metrics_) logs.push_back(log.file());
    helper_.start([staged = std::move(staged), logs = std::move(logs),
                   lines = complete ? metrics : std::vector<std::string>(),
                   expect_own = run_.expect_own](const std::function<void()>& go_on) {
      for (const StagedFolder& folder : staged) settle(folder, expect_own, go_on);
      for (std::size_t i = 0; i < lines.size(); ++i) MetricsLog::append(logs[i], lines[i]);
    });
  }
  for (std::size_t i = 0; i < saes.size(); ++i)
    if (saes[i].variant)
      saes[i].weights_digest = gathered[i].weights_digest;
    else
      saes[i] = std::move(gathered[i]);
  ranks_.barrier();
}

void Checkpoints::poll() {
  if (!helper_.busy() || !helper_.ended()) return;
  helper_.take_end();
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
    for (const SaeConfig& sae : run_.config.saes) {
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
  for (std::size_t i = 0; i < saes.size(); ++i)
    read_checkpoint_files(run.folder.checkpoints(saes[i].config.name) / record.folder, record,
                          run.training_digests[i], saes[i]);
}

std::vector<TrainedSae> load_newest(Session& session, const RunState& state) {
  const CheckpointedRun run = checkpointed_run(session);
  std::vector<TrainedSae> saes = run.initial();
  std::string cause = "the ledger names none";
  const std::vector<CheckpointRecord> records = state.checkpoints_of(sae_names(run.config));
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

// The one that was loaded; `records` of rank 0 then ends with it. Rank 0 names one after the other,
// from the newest.
std::optional<CheckpointRecord> Checkpoints::collective_load(std::vector<CheckpointRecord>& records,
                                                             std::vector<TrainedSae>& saes,
                                                             Restored& restored) {
  for (bool touched = false;; touched = true) {
    std::string text = records.empty() ? "" : to_text(records.back());
    ranks_.broadcast_string(text, 0);
    if (text.empty()) {
      if (touched) saes = run_.initial();  // what was read in part must not be trained on
      return std::nullopt;
    }
    const CheckpointRecord record = checkpoint_record_from(text);
    std::string cause;
    try {
      load_checkpoint(run_, record, saes);
    } catch (const Damaged& error) {
      cause = error.what();
    }
    if (ranks_.all_reduce_max(cause.empty() ? 0 : 1) == 0) return record;
    if (ranks_.rank() == 0) {
      if (cause.empty()) cause = "another rank cannot read it";
      warn(fmt::format("checkpoint {} cannot be used ({}); going back to the one before",
                       record.folder, cause));
      restored.withdrawn.push_back({record, cause});
      records.pop_back();
    }
  }
}

Checkpoints::Restored Checkpoints::collective_restore(std::vector<TrainedSae>& saes) {
  const bool root = ranks_.rank() == 0;
  Restored restored{.position = {.visit = 0, .steps_in_visit = 0, .store_running = run_.store},
                    .withdrawn = {}};
  std::vector<CheckpointRecord> records;
  if (root) records = read_ledger(run_.folder.ledger()).checkpoints_of(sae_names(run_.config));
  if (const auto record = collective_load(records, saes, restored))
    restored.position = {.visit = record->complete ? record->visit + 1 : record->visit,
                         .steps_in_visit = record->complete ? 0 : record->steps_in_visit,
                         .store_running = record->store};
  if (root) {
    tidy(records, saes);
    if (!records.empty() && restored.position.visit == run_.visits())
      for (const TrainedSae& sae : saes) settle(stage_latest(run_, sae), run_.expect_own);
  }
  ranks_.barrier();
  return restored;
}

// What a kill left half done, or somebody changed, around the newest of `records`, which `saes`
// hold.
void Checkpoints::tidy(const std::vector<CheckpointRecord>& records,
                       const std::vector<TrainedSae>& saes) {
  run_.expect_own();
  remove_unnamed(records);
  metrics_.clear();
  for (std::size_t i = 0; i < saes.size(); ++i) restore_metrics(i, records);
  apply_keep_rule(records);
  if (!records.empty() && records.back().complete &&
      keeps_export(keep_rule(run_.config), records.back().visit, run_.visits()))
    for (const TrainedSae& sae : saes)
      mend_export(folder_of(sae.config, records.back().folder), run_, sae);
  latest_s_ = monotonic_s();
}

// One listing. A checkpoint within a chunk is named until there is a newer one.
void Checkpoints::remove_unnamed(const std::vector<CheckpointRecord>& records) {
  std::unordered_set<std::string> named{kKeepRule};
  for (const CheckpointRecord& record : records)
    if (record.complete || &record == &records.back()) named.insert(record.folder);
  for (const SaeConfig& sae : run_.config.saes) {
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
  const SaeConfig& sae = run_.config.saes[i];
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
  for (const SaeConfig& sae : run_.config.saes) {
    std::error_code ignored;
    const fs::path file = folder_of(sae, kKeepRule);
    same = same && fs::exists(file, ignored) && read_file(file) == text;
  }
  if (!same) {
    if (!records.empty()) remove(superseded_by_last(rule, records, run_.visits()));
    for (const SaeConfig& sae : run_.config.saes) write_file(folder_of(sae, kKeepRule), text);
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
