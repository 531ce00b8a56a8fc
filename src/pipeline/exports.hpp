#pragma once
// SAELens folders: what others load. Derived from an SAE's parameters.
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "pipeline/staged_folder.hpp"
#include "refract/base/dtype.hpp"
#include "refract/pipeline/checkpoints.hpp"

namespace refract {

inline constexpr const char* kExportFiles[] = {"cfg.json", "sae_weights.safetensors", "SHA256SUMS"};

// SHA256SUMS of the two other files in `folder`, as it is to be; they are read.
[[nodiscard]] std::string export_sums(const std::filesystem::path& folder,
                                      const std::function<void()>& tick = {});

// Collective. The files but SHA256SUMS, unsynced, into a folder that rank 0 has made: what this
// rank wrote of them. weights_digest of `sae` is known. metrics_line: rank 0's, as
// export_metadata.hpp has it.
[[nodiscard]] std::vector<WrittenFile> collective_write_export(const std::filesystem::path& folder,
                                                               const CheckpointedRun& run,
                                                               const TrainedSae& sae, DType dtype,
                                                               const std::string& metrics_line,
                                                               StepRunner& runner);

// Collective. Files of this name that are missing or damaged are replaced, in a folder that has its
// final name.
void collective_mend_export(const std::filesystem::path& folder, const CheckpointedRun& run,
                            const TrainedSae& sae, const std::string& metrics_line,
                            StepRunner& runner);

[[nodiscard]] StagedFolder collective_stage_latest(const CheckpointedRun& run,
                                                   const TrainedSae& sae,
                                                   const std::string& metrics_line,
                                                   StepRunner& runner);

}  // namespace refract
