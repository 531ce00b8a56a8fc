#pragma once
// `refract describe`: what is this file or folder, and is it what was written?
#include <cstdint>
#include <filesystem>
#include <string>

namespace refract {

// Text for people, of anything refract writes: HDF5 artifacts, safetensors, manifest.yaml,
// run.yaml, state.json and other JSON, ledger.jsonl and other JSON lines, status, reports, raw
// shards; folders of a run, a store, SAEs, checkpoints, features, a data root, shards, tokens, a
// model. DataError when it is none of these.
[[nodiscard]] std::string describe(const std::filesystem::path& path);

// Recomputes every digest and checksum below `path`, and what the ledger of a run at, above or
// below it records of files there (also of the run's model, where its folder is still there). Says
// how many files were verified whole, of how many the form alone, and how many have nothing to
// compare with. DataError names the first file that is not what was written, or is missing though
// recorded; also when there is nothing to check.
[[nodiscard]] std::string verify(const std::filesystem::path& path);

}  // namespace refract
