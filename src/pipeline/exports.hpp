#pragma once
// SAELens folders: what others load. Derived from an SAE's parameters.
#include <filesystem>
#include <string>
#include <vector>

#include "pipeline/staged_folder.hpp"
#include "refract/base/dtype.hpp"
#include "refract/pipeline/checkpoints.hpp"

namespace refract {

inline constexpr const char* kExportFiles[] = {"cfg.json", "sae_weights.safetensors", "SHA256SUMS"};

// The three files, unsynced, into an existing folder. weights_digest of `sae` is known.
[[nodiscard]] std::vector<WrittenFile> write_export(const std::filesystem::path& folder,
                                                    const CheckpointedRun& run,
                                                    const TrainedSae& sae, DType dtype);

// Files of this name that are missing or damaged are replaced, in a folder that has its final name.
void mend_export(const std::filesystem::path& folder, const CheckpointedRun& run,
                 const TrainedSae& sae);

[[nodiscard]] StagedFolder stage_latest(const CheckpointedRun& run, const TrainedSae& sae);

}  // namespace refract
