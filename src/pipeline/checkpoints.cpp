#include "refract/pipeline/checkpoints.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/sae/checkpoint.hpp"
#include "refract/sae/saelens.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;
constexpr const char* kTrainerState = "trainer_state.safetensors";

std::string folder_name(const TrainingPosition& position, bool complete) {
  const std::string visit = chunk_name(complete ? position.visit - 1 : position.visit);
  return complete ? visit : fmt::format("{}.step-{:06}", visit, position.steps_in_visit);
}

Json to_json(const ChunkLog& log) {
  return {{"steps", log.steps}, {"loss", log.loss},
          {"mse", log.mse},     {"aux_loss", log.aux_loss},
          {"l0", log.l0},       {"grad_norm", log.grad_norm},
          {"lr", log.lr},       {"dead", log.dead}};
}

ChunkLog log_from(const Json& json) {
  return {.steps = json.at("steps"),
          .loss = json.at("loss"),
          .mse = json.at("mse"),
          .aux_loss = json.at("aux_loss"),
          .l0 = json.at("l0"),
          .grad_norm = json.at("grad_norm"),
          .lr = json.at("lr"),
          .dead = json.at("dead")};
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
  return {{"model_name", quoted(model_display_name(config.model))},
          {"hook_name", quoted(sae.config.hook)},
          {"context_size", std::to_string(config.tokens.context)},
          {"prepend_bos", config.tokens.bos == "none" ? "false" : "true"},
          {"dataset_path", quoted("wikipedia")},
          {"refract_weights_digest", quoted(weights_digest(sae.state.parameters))}};
}

void Checkpoints::write_folder(std::size_t i, const TrainedSae& sae,
                               const TrainingPosition& position, bool complete,
                               const std::string& name) {
  const RunFolder& folder = session_.folder();
  const fs::path final_name = folder.checkpoints(sae.config.name) / name,
                 made = part_name(final_name);
  remove_all_quietly(made);
  make_folder(made);
  TrainerMetadata metadata;
  metadata.config_digest = session_.training_digest(i);
  metadata.parents = {{"store", position.store_running}};
  std::error_code absent;
  const std::uint64_t metrics_bytes = fs::exists(folder.metrics(sae.config.name), absent)
                                          ? fs::file_size(folder.metrics(sae.config.name))
                                          : 0;
  metadata.values = {{"visit", std::to_string(position.visit)},
                     {"steps_in_visit", std::to_string(position.steps_in_visit)},
                     {"metrics_bytes", std::to_string(metrics_bytes)},
                     {"chunk_log", to_json(complete ? ChunkLog{} : sae.log).dump()}};
  write_trainer_state(made, sae.state, metadata);
  if (complete)
    write_saelens_folder(
        made,
        sae.variant->export_for_saelens(sae.state.parameters, static_cast<float>(sae.input_scale)),
        DType::bf16, saelens_metadata(sae));
  sync_folder(made);
  remove_all_quietly(final_name);
  rename_durably(made, final_name);
  (void)read_trainer_state(final_name, sae.config, sae.state.parameters.d_in(),
                           metadata.config_digest);
}

void Checkpoints::write_latest(const TrainedSae& sae) {
  const fs::path latest = session_.folder().latest(sae.config.name), made = part_name(latest);
  remove_all_quietly(made);
  make_folder(made);
  write_saelens_folder(
      made,
      sae.variant->export_for_saelens(sae.state.parameters, static_cast<float>(sae.input_scale)),
      DType::f32, saelens_metadata(sae));
  sync_folder(made);
  if (fs::exists(latest))
    replace_folder(made, latest);
  else
    rename_durably(made, latest);
}

void Checkpoints::collective_save(const TrainingPosition& position, bool complete,
                                  std::vector<TrainedSae>& saes, StepRunner& runner) {
  for (TrainedSae& sae : saes) runner.collective_gather_moments(sae);
  if (ranks_.rank() == 0) {
    CheckpointRecord record{.visit = complete ? position.visit - 1 : position.visit,
                            .steps_in_visit = position.steps_in_visit,
                            .complete = complete,
                            .folder = folder_name(position, complete),
                            .saes = {},
                            .store = position.store_running};
    for (std::size_t i = 0; i < saes.size(); ++i) {
      write_folder(i, saes[i], position, complete, record.folder);
      record.saes[saes[i].config.name] = weights_digest(saes[i].state.parameters);
    }
    records_.push_back(record);
    announce_(record);
    if (complete)
      for (const TrainedSae& sae : saes) write_latest(sae);
  }
  ranks_.barrier();
}

void Checkpoints::prune() {
  if (records_.empty()) return;
  std::vector<std::string> complete;
  for (const CheckpointRecord& record : records_)
    if (record.complete) complete.push_back(record.folder);
  const std::string& newest = records_.back().folder;
  const std::string& keep = session_.config().checkpoint.keep;
  for (const SaeConfig& sae : session_.config().saes) {
    const fs::path folder = session_.folder().checkpoints(sae.name);
    for (const CheckpointRecord& record : records_)
      if (!record.complete && record.folder != newest) remove_all_quietly(folder / record.folder);
    for (std::size_t i = 0; i + 2 < complete.size(); ++i) {
      remove_all_quietly(folder / complete[i] / kTrainerState);
      const bool kept = keep == "all" ? true
                        : keep.starts_with("every ")
                            ? (i + 1) % std::max(1ul, std::stoul(keep.substr(6))) == 0
                            : complete.size() - i <= std::stoul(keep);
      if (!kept)
        for (const char* file : {"cfg.json", "sae_weights.safetensors"})
          remove_all_quietly(folder / complete[i] / file);
    }
  }
}

bool load_checkpoint(Session& session, const CheckpointRecord& record,
                     std::vector<TrainedSae>& saes, std::vector<std::uint64_t>& metrics_bytes,
                     std::string& cause) {
  metrics_bytes.clear();
  try {
    for (std::size_t i = 0; i < saes.size(); ++i) {
      TrainedSae& sae = saes[i];
      const fs::path folder = session.folder().checkpoints(sae.config.name) / record.folder;
      TrainerCheckpoint checkpoint = read_trainer_state(
          folder, sae.config, sae.state.parameters.d_in(), session.training_digest(i));
      if (checkpoint.metadata.weights_digest != record.saes.at(sae.config.name))
        throw DataError("{}: these are not the weights the ledger names", folder.string());
      sae.state = std::move(checkpoint.state);
      sae.log = log_from(Json::parse(checkpoint.metadata.values.at("chunk_log")));
      metrics_bytes.push_back(std::stoull(checkpoint.metadata.values.at("metrics_bytes")));
    }
    return true;
  } catch (const DataError& error) {
    cause = error.what();
    // Another configuration is the user's error, not damage: going further back would not mend it.
    if (cause.find("config") != std::string::npos) throw;
    return false;
  }
}

std::vector<TrainedSae> load_newest(Session& session, const RunState& state) {
  const RunConfig& config = session.config();
  std::vector<TrainedSae> saes =
      make_trained_saes(config.saes, session.calibration(),
                        dead_threshold(config.store.chunk_rows, session.train_rows()));
  std::vector<std::uint64_t> metrics_bytes;
  std::string cause = "the ledger names none";
  for (auto record = state.checkpoints.rbegin(); record != state.checkpoints.rend(); ++record)
    if (record->complete && load_checkpoint(session, *record, saes, metrics_bytes, cause))
      return saes;
  throw DataError("no checkpoint of {} can be read ({})", session.folder().root.string(), cause);
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
  records_ = state.checkpoints;
  while (!records_.empty()) {
    const CheckpointRecord record = records_.back();
    std::string cause;
    std::vector<std::uint64_t> metrics_bytes;
    const bool read = load_checkpoint(session_, record, saes, metrics_bytes, cause);
    if (ranks_.all_reduce_max(read ? 0 : 1) == 0) {
      restored.position = {.visit = record.complete ? record.visit + 1 : record.visit,
                           .steps_in_visit = record.complete ? 0 : record.steps_in_visit,
                           .store_running = record.store};
      if (root)
        for (std::size_t i = 0; i < saes.size(); ++i)
          AppendLog(session_.folder().metrics(saes[i].config.name)).truncate(metrics_bytes[i]);
      if (root && record.complete)
        for (const TrainedSae& sae : saes) write_latest(sae);
      break;
    }
    if (root)
      warn(fmt::format("checkpoint {} cannot be used ({}); going back to the one before",
                       record.folder, cause));
    restored.withdrawn.push_back(
        {record, cause.empty() ? "another rank could not read it" : cause});
    records_.pop_back();
  }
  if (records_.empty() && !state.checkpoints.empty())
    throw DataError(
        "no checkpoint of {} can be read. Remove {} to train again from the kept chunks.",
        session_.folder().root.string(), session_.folder().ledger().string());
  if (root) remove_unnamed();
  if (root && records_.empty())
    for (const TrainedSae& sae : saes)
      AppendLog(session_.folder().metrics(sae.config.name)).truncate(0);
  ranks_.barrier();
  return restored;
}

}  // namespace refract
