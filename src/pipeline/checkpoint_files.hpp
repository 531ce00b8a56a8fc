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

// Collective. Unsynced, into a folder that rank 0 has made: what this rank wrote. Fills
// sae.weights_digest, and on rank 0 `digests`. Of `facts` it takes rank 0's.
[[nodiscard]] std::vector<WrittenFile> collective_write_checkpoint_files(
    const std::filesystem::path& folder, TrainedSae& sae, const CheckpointFacts& facts,
    StepRunner& runner, SaeCheckpoint& digests);

// Fills `sae` from the folder: of its features those in `held`, on the stream's device. They are to
// be believed when expect_whole has seen the panels of all ranks. Damaged when a file is missing or
// not what the ledger's record says; DataError when it was trained with other settings.
struct ReadPanels {
  SaeShape whole;
  std::vector<PanelDigest> panels;
};
[[nodiscard]] ReadPanels read_checkpoint_files(const std::filesystem::path& folder,
                                               const CheckpointRecord& record,
                                               const std::string& training_digest,
                                               const HeldFeatures& held, Stream& stream,
                                               TrainedSae& sae);

// state.json as the ledger's record knows it; Damaged when it is another.
[[nodiscard]] TrainerMetadata metadata_named(const CheckpointRecord& record, const std::string& sae,
                                             const std::filesystem::path& folder);
// How long metrics.jsonl was; Damaged when state.json does not say it.
[[nodiscard]] MetricsMark recorded_mark(const TrainerMetadata& metadata,
                                        const std::filesystem::path& folder);

}  // namespace refract
