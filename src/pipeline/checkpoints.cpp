#include "refract/pipeline/checkpoints.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/sae/checkpoint.hpp"
#include "refract/sae/saelens.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;
constexpr const char* kTrainerState = "trainer_state.safetensors";
constexpr const char* kMetricsLine = "metrics_line";
// Of schema 2, which keeps these words: a visit's log, and in it the squared error summed over
// d_in.
constexpr const char *kVisitLog = "chunk_log", *kSquaredError = "mse";

std::string folder_name(const TrainingPosition& position, bool complete) {
  const std::string visit = chunk_name(complete ? position.visit - 1 : position.visit);
  return complete ? visit : fmt::format("{}.step-{:06}", visit, position.steps_in_visit);
}

Json to_json(const VisitLog& log) {
  return {{"steps", log.steps},
          {"loss", log.loss},
          {kSquaredError, log.squared_error},
          {"aux_loss", log.aux_loss},
          {"l0", log.l0},
          {"grad_norm", log.grad_norm},
          {"lr", log.lr},
          {"dead", log.dead}};
}

VisitLog log_from(const std::string& text, const fs::path& folder) try {
  const Json json = Json::parse(text);
  return {.steps = json.at("steps"),
          .loss = json.at("loss"),
          .squared_error = json.at(kSquaredError),
          .aux_loss = json.at("aux_loss"),
          .l0 = json.at("l0"),
          .grad_norm = json.at("grad_norm"),
          .lr = json.at("lr"),
          .dead = json.at("dead")};
} catch (const Json::exception&) {
  throw Damaged("{}: {} is not what was written", (folder / "state.json").string(), kVisitLog);
}

// state.json as the ledger knows it; Damaged when it is another.
TrainerMetadata metadata_named(const CheckpointRecord& record, const std::string& sae,
                               const fs::path& folder) {
  TrainerMetadata metadata = read_trainer_metadata(folder);
  if (SaeCheckpoint{metadata.weights_digest, metadata.state_digest} != record.saes.at(sae))
    throw Damaged("{} is not the one that the ledger names", (folder / "state.json").string());
  return metadata;
}

constexpr const char* kSums = "SHA256SUMS";
const std::vector<std::string> kExportFiles{"cfg.json", "sae_weights.safetensors"};

// What `sha256sum -c` reads.
std::string sums_of(const fs::path& folder) {
  std::string text;
  for (const std::string& file : kExportFiles)
    text += fmt::format("{}  {}\n", sha256_of_file(folder / file), file);
  return text;
}

void sync_folder(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) sync_path(entry.path());
  sync_path(folder);
}

// Puts `made` in the place of `final_name`, which may exist: in one step where the file system can
// exchange names.
void replace_folder(const fs::path& made, const fs::path& final_name) {
  if (::renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, final_name.c_str(), RENAME_EXCHANGE) != 0) {
    remove_all_quietly(final_name);
    rename_durably(made, final_name);
    return;
  }
  sync_path(final_name.parent_path());
  remove_all_quietly(made);
}

}  // namespace

Checkpoints::Checkpoints(Session& session, Communicator& ranks, Announce announce)
    : session_(session), ranks_(ranks), announce_(std::move(announce)) {}

std::map<std::string, std::string> Checkpoints::saelens_metadata(const TrainedSae& sae) const {
  const RunConfig& config = session_.config();
  const auto quoted = [](const std::string& text) { return Json(text).dump(); };
  return {{"model_name", quoted(session_.folder().model_name())},
          {"hook_name", quoted(sae.config.hook)},
          {"context_size", std::to_string(config.tokens.context)},
          {"prepend_bos", config.tokens.bos == "none" ? "false" : "true"},
          {"dataset_path", quoted("wikipedia")},
          {"refract_weights_digest", quoted(weights_digest(sae.state.parameters))}};
}

void Checkpoints::write_export(const fs::path& folder, const TrainedSae& sae, DType dtype) const {
  write_saelens_folder(
      folder,
      sae.variant->export_for_saelens(sae.state.parameters, static_cast<float>(sae.input_scale)),
      dtype, saelens_metadata(sae));
  write_file(folder / kSums, sums_of(folder));
}

SaeCheckpoint Checkpoints::write_folder(std::size_t i, const TrainedSae& sae,
                                        const TrainingPosition& position, bool complete,
                                        const std::string& metrics, const std::string& name) {
  const RunFolder& folder = session_.folder();
  const fs::path final_name = folder.checkpoints(sae.config.name) / name,
                 made = part_name(final_name);
  remove_all_quietly(made);
  make_folder(made);
  TrainerMetadata metadata;
  metadata.config_digest = session_.training_digest(i);
  metadata.parents = {{"store", position.store_running}};
  metadata.values = {{"visit", std::to_string(position.visit)},
                     {"steps_in_visit", std::to_string(position.steps_in_visit)},
                     {kMetricsLine, Json(metrics).dump()},
                     {kVisitLog, to_json(complete ? VisitLog{} : sae.log).dump()}};
  write_trainer_state(made, sae.state, metadata);
  if (complete && keeps_export(position.visit - 1)) write_export(made, sae, DType::bf16);
  sync_folder(made);
  session_.expect_own_run();
  remove_all_quietly(final_name);
  rename_durably(made, final_name);
  const TrainerCheckpoint read = read_trainer_state(
      final_name, sae.config, sae.state.parameters.d_in(), metadata.config_digest);
  return {read.metadata.weights_digest, read.metadata.state_digest};
}

bool Checkpoints::keeps_export(std::uint64_t visit) const {
  return refract::keeps_export(keep_rule(session_.config()), visit, session_.visits());
}

void Checkpoints::write_latest(const TrainedSae& sae) {
  const fs::path latest = session_.folder().latest(sae.config.name), made = part_name(latest);
  remove_all_quietly(made);
  make_folder(made);
  write_export(made, sae, DType::f32);
  sync_folder(made);
  session_.expect_own_run();
  if (fs::exists(latest))
    replace_folder(made, latest);
  else
    rename_durably(made, latest);
}

// What the complete checkpoints say, in order; a file that says it already is left alone.
void Checkpoints::write_metrics(const std::string& sae) {
  const fs::path file = session_.folder().metrics(sae);
  const std::string found = fs::exists(file) ? read_file(file) : std::string();
  std::istringstream old(found);
  std::string text, old_line;
  for (const CheckpointRecord& record : records_) {
    if (!record.complete) continue;
    const bool known = static_cast<bool>(std::getline(old, old_line));
    const fs::path folder = session_.folder().checkpoints(sae) / record.folder;
    try {
      text += recorded_metrics(metadata_named(record, sae, folder), folder) + "\n";
    } catch (const Damaged& error) {  // of an old checkpoint, which nothing else needs
      warn(fmt::format("{}; its line of {} is {}", error.what(), file.string(),
                       known ? "left as it is" : "lost"));
      if (known) text += old_line + "\n";
    }
  }
  if (found == text) return;
  if (!found.starts_with(text) && !records_.empty())
    warn(
        fmt::format("{} lacked lines that were written, or held others; it is written again from "
                    "the checkpoints",
                    file.string()));
  write_file(file, text);
}

void Checkpoints::collective_save(const TrainingPosition& position, Reason reason,
                                  const std::vector<std::string>& metrics,
                                  std::vector<TrainedSae>& saes, StepRunner& runner) {
  for (TrainedSae& sae : saes) runner.collective_gather_moments(sae);
  if (ranks_.rank() == 0) {
    const bool complete = reason == Reason::visit_done;
    CheckpointRecord record{.visit = complete ? position.visit - 1 : position.visit,
                            .steps_in_visit = position.steps_in_visit,
                            .complete = complete,
                            .folder = folder_name(position, complete),
                            .saes = {},
                            .store = position.store_running};
    for (std::size_t i = 0; i < saes.size(); ++i)
      record.saes[saes[i].config.name] = write_folder(i, saes[i], position, complete,
                                                      complete ? metrics.at(i) : "", record.folder);
    records_.push_back(record);
    if (complete)
      for (std::size_t i = 0; i < saes.size(); ++i)
        AppendLog(session_.folder().metrics(saes[i].config.name)).append(metrics.at(i));
    announce_(record);
    const bool old = monotonic_s() - latest_s_ > session_.config().checkpoint.every_s;
    if (reason == Reason::stop || old || position.visit == session_.visits()) {
      for (const TrainedSae& sae : saes) write_latest(sae);
      latest_s_ = monotonic_s();
    }
  }
  ranks_.barrier();
}

void Checkpoints::prune() {
  if (records_.empty()) return;
  const std::string newest = records_.back().folder;
  const auto is_superseded = [&](const CheckpointRecord& record) {
    return !record.complete && record.folder != newest;
  };
  for (const CheckpointRecord& record : records_)
    for (const SaeConfig& sae : session_.config().saes)
      if (is_superseded(record))
        remove_all_quietly(session_.folder().checkpoints(sae.name) / record.folder);
  std::erase_if(records_, is_superseded);
  std::vector<const CheckpointRecord*> complete;
  for (const CheckpointRecord& record : records_)
    if (record.complete) complete.push_back(&record);
  const KeepRule rule = keep_rule(session_.config());
  const std::size_t kept_last = rule.kind == KeepRule::Kind::last ? rule.n : 0;
  const std::size_t end = complete.size() - std::min<std::size_t>(2, complete.size());
  for (const SaeConfig& sae : session_.config().saes) {
    const fs::path folder = session_.folder().checkpoints(sae.name);
    for (std::size_t i = pruned_; i < end; ++i) {
      remove_all_quietly(folder / complete[i]->folder / kTrainerState);
      const bool kept =
          kept_last > 0 ? complete.size() - i <= kept_last : keeps_export(complete[i]->visit);
      if (kept) continue;
      remove_all_quietly(folder / complete[i]->folder / kSums);
      for (const std::string& file : kExportFiles)
        remove_all_quietly(folder / complete[i]->folder / file);
    }
  }
  // Of those before, nothing is left to go.
  pruned_ =
      std::max(pruned_, std::min(end, complete.size() - std::min(kept_last, complete.size())));
}

bool keeps_export(const KeepRule& rule, std::uint64_t visit, std::uint64_t visits) {
  switch (rule.kind) {
    case KeepRule::Kind::spread:
      return visits <= KeepRule::kSpread ||
             (visit + 1) * KeepRule::kSpread / visits > visit * KeepRule::kSpread / visits;
    case KeepRule::Kind::every: return (visit + 1) % rule.n == 0;
    case KeepRule::Kind::all:
    case KeepRule::Kind::last: break;
  }
  return true;
}

std::string recorded_metrics(const TrainerMetadata& metadata, const fs::path& folder) try {
  return Json::parse(metadata.values.at(kMetricsLine)).get<std::string>();
} catch (const std::exception&) {
  throw Damaged("{}: {} is not what was written", (folder / "state.json").string(), kMetricsLine);
}

bool export_is_whole(const fs::path& folder, const std::string& weights) try {
  if (read_file(folder / kSums) != sums_of(folder)) return false;
  const Json config = Json::parse(read_file(folder / kExportFiles.front()));
  return config.dump().find(weights) != std::string::npos;
} catch (const std::exception&) {
  return false;
}

void load_checkpoint(Session& session, const CheckpointRecord& record,
                     std::vector<TrainedSae>& saes) {
  for (std::size_t i = 0; i < saes.size(); ++i) {
    TrainedSae& sae = saes[i];
    const fs::path folder = session.folder().checkpoints(sae.config.name) / record.folder;
    if (!fs::exists(folder / kTrainerState))
      throw Damaged("{} is missing", (folder / kTrainerState).string());
    (void)metadata_named(record, sae.config.name, folder);  // before its settings are believed
    TrainerCheckpoint checkpoint = read_trainer_state(
        folder, sae.config, sae.state.parameters.d_in(), session.training_digest(i));
    const TrainerMetadata& metadata = checkpoint.metadata;
    const auto log = metadata.values.find(kVisitLog);
    if (log == metadata.values.end())
      throw Damaged("{} has no {}", (folder / "state.json").string(), kVisitLog);
    sae.log = log_from(log->second, folder);
    sae.state = std::move(checkpoint.state);
  }
}

std::vector<TrainedSae> load_newest(Session& session, const RunState& state) {
  const RunConfig& config = session.config();
  std::vector<TrainedSae> saes =
      make_trained_saes(config.saes, session.calibration(),
                        dead_threshold(config.store.chunk_rows, session.train_rows()));
  std::string cause = "the ledger names none";
  const std::vector<CheckpointRecord> records = state.checkpoints_of(sae_names(config));
  for (auto record = records.rbegin(); record != records.rend(); ++record) {
    if (!record->complete) continue;
    try {
      load_checkpoint(session, *record, saes);
      return saes;
    } catch (const Damaged& error) {
      cause = error.what();
    }
  }
  throw DataError("no checkpoint of {} can be read ({})", session.folder().root.string(), cause);
}

// The SAELens folders that are kept: of the checkpoint that was loaded a damaged one is written
// again, of an older one nobody has the weights any more.
void Checkpoints::mend_exports(const std::vector<TrainedSae>& saes) {
  for (const CheckpointRecord& record : records_) {
    if (!record.complete || !keeps_export(record.visit)) continue;
    const bool loaded = &record == &records_.back();
    for (const TrainedSae& sae : saes) {
      const fs::path folder = session_.folder().checkpoints(sae.config.name) / record.folder;
      if (loaded ? export_is_whole(folder, record.saes.at(sae.config.name).weights)
                 : fs::exists(folder / kExportFiles.front()) &&
                       fs::exists(folder / kExportFiles.back()))
        continue;
      if (!loaded) {
        if (keep_rule(session_.config()).kind != KeepRule::Kind::last)
          warn(
              fmt::format("{} has lost its SAELens files, and its trainer state is gone: they "
                          "cannot be made again",
                          folder.string()));
        continue;
      }
      warn(fmt::format(
          "the SAELens files of {} are missing or not what was written; they are made again",
          folder.string()));
      write_export(folder, sae, DType::bf16);
    }
  }
}

void Checkpoints::remove_unnamed() {
  std::set<std::string> named;
  for (const CheckpointRecord& record : records_) named.insert(record.folder);
  for (const SaeConfig& sae : session_.config().saes) {
    const fs::path folder = session_.folder().checkpoints(sae.name);
    make_folder(folder);
    std::vector<fs::path> unnamed;
    for (const auto& entry : fs::directory_iterator(folder))
      if (!named.contains(entry.path().filename())) unnamed.push_back(entry.path());
    for (const fs::path& path : unnamed) remove_all_quietly(path);
    remove_all_quietly(part_name(session_.folder().latest(sae.name)));
  }
}

Checkpoints::Restored Checkpoints::collective_restore(const RunState& state,
                                                      std::vector<TrainedSae>& saes) {
  const bool root = ranks_.rank() == 0;
  Restored restored{
      .position = {.visit = 0, .steps_in_visit = 0, .store_running = session_.store_digest()},
      .withdrawn = {}};
  records_ = state.checkpoints_of(sae_names(session_.config()));
  pruned_ = 0;
  for (; !records_.empty(); records_.pop_back()) {
    const CheckpointRecord& record = records_.back();
    std::string cause;
    try {
      load_checkpoint(session_, record, saes);
    } catch (const Damaged& error) {
      cause = error.what();
    }
    if (ranks_.all_reduce_max(cause.empty() ? 0 : 1) == 0) break;
    if (root)
      warn(fmt::format("checkpoint {} cannot be used ({}); going back to the one before",
                       record.folder, cause.empty() ? "another rank cannot read it" : cause));
    restored.withdrawn.push_back(
        {record, cause.empty() ? "another rank could not read it" : cause});
  }
  if (!records_.empty()) {
    const CheckpointRecord& record = records_.back();
    restored.position = {.visit = record.complete ? record.visit + 1 : record.visit,
                         .steps_in_visit = record.complete ? 0 : record.steps_in_visit,
                         .store_running = record.store};
  } else if (!restored.withdrawn.empty()) {
    // A checkpoint that was read in part must not be trained on.
    saes = make_trained_saes(
        session_.config().saes, session_.calibration(),
        dead_threshold(session_.config().store.chunk_rows, session_.train_rows()));
  }
  if (root) {
    session_.expect_own_run();
    remove_unnamed();
    for (const TrainedSae& sae : saes) write_metrics(sae.config.name);
    mend_exports(saes);
    prune();  // a kill may have come between a checkpoint's line and what it supersedes
    latest_s_ = monotonic_s();
    if (!records_.empty() && restored.position.visit == session_.visits())
      for (const TrainedSae& sae : saes) write_latest(sae);
  }
  ranks_.barrier();
  return restored;
}

}  // namespace refract
