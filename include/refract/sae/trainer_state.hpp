#pragma once
// The trainer's state on disk, the truth of a checkpoint: trainer_state.safetensors (raw fp32
// parameters, their moments and mean, ages) and state.json (step, scalars, digests). Bytes are a
// function of state and metadata, and every one of them is under a digest:
//
//   digest of tensors = SHA-256 over, for each tensor, the line "<name> <dtype> <axis> <axis>\n"
//     and a line with the SHA-256 (hex) of each panel of 64 features' bytes, in order; b_dec,
//     m.b_dec, v.b_dec and ema.b_dec have no feature axis and are one panel. So ranks can hash what
//     they own.
//   weights_digest = that of W_enc, b_enc, W_dec, b_dec, and threshold where there is one, in
//     this order
//   tensors_digest = that of all tensors of trainer_state.safetensors, in the order of their names
//   state_digest   = SHA-256 of the bytes of state.json with 64 zeros in the place of this digest
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "refract/base/written_file.hpp"
#include "refract/sae/config.hpp"
#include "refract/sae/state.hpp"
#include "refract/store/safetensors.hpp"

namespace refract {

// What state.json says besides the step.
struct TrainerMetadata {
  std::string config_digest;   // of everything that changes this SAE's results; compared on reading
  std::string weights_digest;  // of the fp32 master weights; set by writing, checked by reading
  std::string state_digest;    // of everything in both files; set by writing, checked by reading
  std::map<std::string, std::string> parents;  // artifact -> digest
  std::map<std::string, std::string>
      values;  // further keys -> JSON text (metrics.jsonl length, chunk, ...)
};

[[nodiscard]] std::string weights_digest(const SaeParameters& parameters);

// Writes both files into an existing folder, unsynced (base/written_file.hpp); fills the two
// digests of `metadata`. Each tensor is hashed once, panels side by side, and copied nowhere.
[[nodiscard]] std::vector<WrittenFile> write_trainer_state(const std::filesystem::path& folder,
                                                           const SaeState& state,
                                                           TrainerMetadata& metadata);

// The same by several owners of one dictionary, which together own every feature once. Each opens
// the file (one creates it, before the others join), writes what it owns, straight from a device a
// piece at a time, and hands its panels' digests to the one that writes state.json.
struct OwnedFeatures {
  FeatureRange features;
  bool replicated = true;  // one owner has what is of no feature: b_dec and its moments
};
struct PanelDigest {
  std::uint64_t panel = 0;      // counted through all tensors of the file
  std::array<char, 64> sha256;  // hex
};
[[nodiscard]] SafetensorsWriter open_trainer_tensors(const std::filesystem::path& folder,
                                                     const SaeShape& whole,
                                                     FileWriter::Begin begin);
[[nodiscard]] std::vector<PanelDigest> write_owned(SafetensorsWriter& file, const SaeShape& whole,
                                                   const SaeState& part, const OwnedFeatures& own,
                                                   Stream& stream);
// panels: those of all owners. Of `part` it takes step, rows and scalars.
[[nodiscard]] WrittenFile write_trainer_facts(const std::filesystem::path& folder,
                                              const SaeShape& whole, const SaeState& part,
                                              std::span<const PanelDigest> panels,
                                              TrainerMetadata& metadata);

struct StoredTrainerState {
  SaeState state;
  TrainerMetadata metadata;
};
// Throws, naming the file and the field:
//   Damaged    a file is missing or cut, a value is missing or of another type, a digest does not
//              fit, shapes are not those of `config` with `width`: an older checkpoint may be whole
//   DataError  another configuration digest, or another schema version: older ones will not help
[[nodiscard]] StoredTrainerState read_trainer_state(const std::filesystem::path& folder,
                                                    const SaeConfig& config, const SaeWidth& width,
                                                    const std::string& config_digest);

// The same by one of several readers, of which each has some features, straight to the stream's
// device: nothing else of the file is read. It is to be believed when expect_whole has seen the
// panels of all readers.
struct HeldFeatures {
  FeatureRange parameters, moments;  // ages are as parameters
};
struct StoredPart {
  SaeState state;
  TrainerMetadata metadata;
  SaeShape whole;
  std::vector<PanelDigest> panels;  // of every byte that was read
};
[[nodiscard]] StoredPart read_trainer_part(const std::filesystem::path& folder,
                                           const SaeConfig& config, const SaeWidth& width,
                                           const std::string& config_digest,
                                           const HeldFeatures& held, Stream& stream);
// Damaged where the tensors are not those that state.json was written with.
void expect_whole(const std::filesystem::path& folder, const SaeShape& whole,
                  std::span<const PanelDigest> panels);

// Damaged when a byte of state.json, or of trainer_state.safetensors where it is still there, is
// not what was written. Needs no configuration.
void verify_trainer_state(const std::filesystem::path& folder);
// state.json alone, which stays when the trainer state is removed. Throws as above.
[[nodiscard]] TrainerMetadata read_trainer_metadata(const std::filesystem::path& folder);

}  // namespace refract
