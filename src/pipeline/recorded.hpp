#pragma once
// What a run's ledger records of the run's files, and whether they are that still.
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace refract {

struct RecordedFile {
  std::filesystem::path file;   // or the folder of a model
  std::function<void()> check;  // Damaged, naming the file, when it is missing or another
};

// Of the run in this folder: sealed chunks, calibration and held-out rows, trainer states,
// metrics.jsonl, what the analysis finished, and the model where its folder is still there.
// DataError when the ledger or run.yaml cannot be read.
[[nodiscard]] std::vector<RecordedFile> recorded_files(const std::filesystem::path& run);

}  // namespace refract
