#include "pipeline/checkpoint_files.hpp"

#include <nlohmann/json.hpp>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kMetricsLine = "metrics_line";
constexpr const char* kMetricsBytes = "metrics_bytes";
constexpr const char* kMetricsDigest = "metrics_digest";
// Of schema 2, which keeps these words: a visit's log, and in it the squared error summed over
// d_in.
constexpr const char *kVisitLog = "chunk_log", *kSquaredError = "mse";

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

// A value of state.json; Damaged when it is missing or of another kind.
template <typename Read>
auto value_of(const TrainerMetadata& metadata, const char* key, const fs::path& folder,
              Read&& read) try {
  return read(Json::parse(metadata.values.at(key)));
} catch (const std::exception&) {
  throw Damaged("{}: {} is not what was written", (folder / "state.json").string(), key);
}

VisitLog log_from(const Json& json) {
  return {.steps = json.at("steps"),
          .loss = json.at("loss"),
          .squared_error = json.at(kSquaredError),
          .aux_loss = json.at("aux_loss"),
          .l0 = json.at("l0"),
          .grad_norm = json.at("grad_norm"),
          .lr = json.at("lr"),
          .dead = json.at("dead")};
}

}  // namespace

std::vector<WrittenFile> write_checkpoint_files(const fs::path& folder, TrainedSae& sae,
                                                const CheckpointFacts& facts,
                                                SaeCheckpoint& digests) {
  const TrainingPosition& position = facts.position;
  const bool within = facts.metrics_line.empty();
  TrainerMetadata metadata;
  metadata.config_digest = facts.training_digest;
  metadata.parents = {{"store", position.store_running}};
  metadata.values = {{"visit", std::to_string(position.visit)},
                     {"steps_in_visit", std::to_string(position.steps_in_visit)},
                     {kMetricsLine, Json(facts.metrics_line).dump()},
                     {kMetricsBytes, std::to_string(facts.metrics.bytes)},
                     {kMetricsDigest, Json(facts.metrics.digest).dump()},
                     {kVisitLog, to_json(within ? sae.log : VisitLog{}).dump()}};
  std::vector<WrittenFile> files = write_trainer_state(folder, sae.state, metadata);
  digests = {metadata.weights_digest, metadata.state_digest};
  sae.weights_digest = metadata.weights_digest;
  return files;
}

void read_checkpoint_files(const fs::path& folder, const CheckpointRecord& record,
                           const std::string& training_digest, TrainedSae& sae) {
  if (!fs::exists(folder / kTrainerState))
    throw Damaged("{} is missing", (folder / kTrainerState).string());
  (void)metadata_named(record, sae.config.name, folder);  // before its settings are believed
  StoredTrainerState stored =
      read_trainer_state(folder, sae.config, {sae.input.width(), sae.target.width()},
                         training_digest);
  sae.log = value_of(stored.metadata, kVisitLog, folder, log_from);
  sae.state = std::move(stored.state);
  sae.weights_digest = stored.metadata.weights_digest;
}

TrainerMetadata metadata_named(const CheckpointRecord& record, const std::string& sae,
                               const fs::path& folder) {
  TrainerMetadata metadata = read_trainer_metadata(folder);
  if (SaeCheckpoint{metadata.weights_digest, metadata.state_digest} != record.saes.at(sae))
    throw Damaged("{} is not the one that the ledger names", (folder / "state.json").string());
  return metadata;
}

std::string recorded_metrics(const TrainerMetadata& metadata, const fs::path& folder) {
  return value_of(metadata, kMetricsLine, folder,
                  [](const Json& json) { return json.get<std::string>(); });
}

MetricsMark recorded_mark(const TrainerMetadata& metadata, const fs::path& folder) {
  return {value_of(metadata, kMetricsBytes, folder,
                   [](const Json& json) { return json.get<std::uint64_t>(); }),
          value_of(metadata, kMetricsDigest, folder,
                   [](const Json& json) { return json.get<std::string>(); })};
}

}  // namespace refract
