#include "pipeline/checkpoint_files.hpp"

#include <nlohmann/json.hpp>

#include "pipeline/owners.hpp"
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
          {"resampled", log.resampled},
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
          .resampled = json.value("resampled", std::uint64_t{0}),
          .dead = json.at("dead")};
}

TrainerMetadata metadata_of(const TrainedSae& sae, const CheckpointFacts& facts) {
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
  return metadata;
}

}  // namespace

std::vector<WrittenFile> collective_write_checkpoint_files(const fs::path& folder, TrainedSae& sae,
                                                           const CheckpointFacts& facts,
                                                           StepRunner& runner,
                                                           SaeCheckpoint& digests) {
  Communicator& ranks = runner.mesh().ranks();
  SaeShape whole = sae.state.shape();
  whole.d_sae = sae.config.d_sae;
  SafetensorsWriter file = collective_open(
      ranks, [&](FileWriter::Begin begin) { return open_trainer_tensors(folder, whole, begin); });
  const std::vector<PanelDigest> own =
      write_owned(file, whole, sae.state, owned_features(sae, runner), runner.stream());
  std::vector<WrittenFile> files{file.close()};
  const std::vector<PanelDigest> panels = ranks.gather(std::span<const PanelDigest>(own), 0);
  if (ranks.rank() == 0) {
    TrainerMetadata metadata = metadata_of(sae, facts);
    files.push_back(write_trainer_facts(folder, whole, sae.state, panels, metadata));
    digests = {metadata.weights_digest, metadata.state_digest};
    sae.weights_digest = metadata.weights_digest;
  }
  ranks.broadcast_string(sae.weights_digest, 0);
  return files;
}

ReadPanels read_checkpoint_files(const fs::path& folder, const CheckpointRecord& record,
                                 const std::string& training_digest, const HeldFeatures& held,
                                 Stream& stream, TrainedSae& sae) {
  if (!fs::exists(folder / kTrainerState))
    throw Damaged("{} is missing", (folder / kTrainerState).string());
  (void)metadata_named(record, sae.config.name, folder);  // before its settings are believed
  StoredPart stored = read_trainer_part(folder, sae.config, {sae.input.width(), sae.target.width()},
                                        training_digest, held, stream);
  sae.log = value_of(stored.metadata, kVisitLog, folder, log_from);
  sae.state = std::move(stored.state);
  sae.weights_digest = stored.metadata.weights_digest;
  sae.usable_mean.reset();
  sae.buffers.reset();
  return {stored.whole, std::move(stored.panels)};
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
