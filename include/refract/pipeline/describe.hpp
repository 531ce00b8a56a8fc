#pragma once
// `refract describe`: what is this file or folder, and is it what was written?
#include <cstdint>
#include <filesystem>
#include <string>

namespace refract {

// Text for people, of anything refract writes: HDF5 artifacts, safetensors, manifest.yaml,
// run.yaml, state.json and other JSON, ledger.jsonl and other JSON lines, status; folders of a run,
// a store, a checkpoint, shards, tokens. DataError when it is none of these.
[[nodiscard]] std::string describe(const std::filesystem::path& path);

// Recomputes every digest and checksum below `path` and says how many files were checked. DataError
// names the first file that is not what was written; also when there is nothing to check.
[[nodiscard]] std::string verify(const std::filesystem::path& path);

}  // namespace refract
