#pragma once
// The store as a whole: its identity, the digest its children name as parent, and what a foreign
// reader needs and nothing of ours reads: manifest.yaml, of constant size, and chunks.jsonl beside
// it, to which every sealed and every evicted chunk adds a line.
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "refract/store/chunk.hpp"

namespace refract {

// Identity of a store: the settings that change results, as text, and the calibration's content
// digest.
[[nodiscard]] std::string store_digest(std::string_view settings,
                                       std::string_view calibration_digest);
// The running hash a trained SAE names as parent: begin with the store digest, add chunks in the
// order trained.
[[nodiscard]] std::string extend_digest(std::string_view running, std::string_view chunk_digest);

struct SealedChunk {
  std::uint64_t chunk = 0;
  std::uint64_t rows = 0, bytes = 0;
  std::string digest;
  bool evicted = false;
};

struct StoreManifest {
  std::string model_name, model_version;
  std::uint64_t files_processed = 0;  // shards read so far; corpus.json of the run lists them all
  std::vector<HookColumn> hooks;
  DType dtype = DType::f32;
  std::string row_rule;  // "all", "last", ...
  std::uint64_t context_length = 0;
  std::string tokenizer_digest, store_digest, calibration_digest;
  std::uint64_t chunks = 0, rows = 0;  // in the store now
  std::vector<std::pair<std::string, std::string>>
      more;  // further keys, written as given and quoted
};

[[nodiscard]] std::string manifest_text(const StoreManifest& manifest,
                                        std::string_view last_updated);
// Replaces <store>/manifest.yaml; last_updated is now, in UTC.
void write_manifest(const std::filesystem::path& path, const StoreManifest& manifest);

// One JSON object: chunk, file, rows, bytes, digest, evicted. A chunk's last line counts.
[[nodiscard]] std::string chunk_line(const SealedChunk& chunk);
// Makes chunks.jsonl hold exactly these, a line each; leaves a file that does alone.
void write_chunk_list(const std::filesystem::path& path, const std::vector<SealedChunk>& chunks);
void append_chunk(const std::filesystem::path& path, const SealedChunk& chunk);

}  // namespace refract
