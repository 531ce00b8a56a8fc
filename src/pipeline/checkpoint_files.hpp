#pragma once
// The files of one SAE's checkpoint that the trainer resumes from: trainer_state.safetensors, and
// state.json with where training stood, its sums within the chunk, and the line of metrics.jsonl.
#include <filesystem>
#include <string>
#include <vector>

#include "pipeline/metrics_log.hpp"
#include "refract/pipeline/checkpoints.hpp"

namespace refract {

inline constexpr const char* kTrainerState = "trainer_state.safetensors";

// What a checkpoint adds to an SAE's state.
struct CheckpointFacts {
  TrainingPosition position;
  std::string training_digest;
  std::string metrics_line;  // empty within a chunk
  MetricsMark metrics;       // of metrics.jsonl with that line
};

// Unsynced, into an existing folder; fills `digests`, and sae.weights_digest.
[[nodiscard]] std::vector<WrittenFile> write_checkpoint_files(const std::filesystem::path& folder,
                                                              TrainedSae& sae,
                                                              const CheckpointFacts& facts,
                                                              SaeCheckpoint& digests);

// Fills `sae` from the folder. Damaged when a file is missing or not what the ledger's record says;
// DataError when it was trained with other settings.
void read_checkpoint_files(const std::filesystem::path& folder, const CheckpointRecord& record,
                           const std::string& training_digest, TrainedSae& sae);

// state.json as the ledger's record knows it; Damaged when it is another.
[[nodiscard]] TrainerMetadata metadata_named(const CheckpointRecord& record, const std::string& sae,
                                             const std::filesystem::path& folder);
// How long metrics.jsonl was; Damaged when state.json does not say it.
[[nodiscard]] MetricsMark recorded_mark(const TrainerMetadata& metadata,
                                        const std::filesystem::path& folder);

}  // namespace refract
