#pragma once
// The trainer's state on disk, the truth of a checkpoint: trainer_state.safetensors (raw fp32
// parameters and moments, ages) and state.json (step, scalars, digests). Bytes are a function of
// state and metadata.
#include <filesystem>
#include <map>
#include <string>

#include "refract/sae/config.hpp"
#include "refract/sae/state.hpp"

namespace refract {

// What state.json says besides the step.
struct TrainerMetadata {
  std::string config_digest;  // of everything that changes this SAE's results; compared on reading
  std::string
      weights_digest;  // SHA-256 of the fp32 master weights: set by writing, checked by reading
  std::map<std::string, std::string> parents;  // artifact -> digest
  std::map<std::string, std::string>
      values;  // further keys -> JSON text (metrics.jsonl length, chunk, ...)
};

[[nodiscard]] std::string weights_digest(const SaeParameters& parameters);

// Writes both files into an existing folder; fills metadata.weights_digest.
void write_trainer_state(const std::filesystem::path& folder, const SaeState& state,
                         TrainerMetadata& metadata);

struct TrainerCheckpoint {
  SaeState state;
  TrainerMetadata metadata;
};
// Throws DataError naming the file and the field when a file is missing or cut, when shapes are not
// those of `config` with `d_in`, when the configuration digest is another one, or when the weights
// are not those digested.
[[nodiscard]] TrainerCheckpoint read_trainer_state(const std::filesystem::path& folder,
                                                   const SaeConfig& config, std::size_t d_in,
                                                   const std::string& config_digest);
// state.json alone, which stays when the trainer state is removed.
[[nodiscard]] TrainerMetadata read_trainer_metadata(const std::filesystem::path& folder);

}  // namespace refract
