#pragma once
// Where everything of a chunk file lies, read once through HDF5; after that pread is enough.
#include <span>
#include <string>
#include <vector>

#include "refract/base/file_descriptor.hpp"
#include "refract/store/chunk.hpp"
#include "store/hdf5_handle.hpp"

namespace refract {

// One dataset of [rows] or [rows, d_in] values, contiguous in the file.
struct ChunkDataset {
  std::string name;
  DType dtype = DType::u8;
  std::uint64_t columns = 1;
  std::string axes;
  std::uint64_t offset = 0;  // bytes from the start of the file
  [[nodiscard]] std::uint64_t row_bytes() const { return columns * byte_size(dtype); }
};

// Per row, in the order in which a block is hashed: six of identity, then activations and excluded
// of each hook.
inline constexpr std::size_t kIdentityDatasets = 6;
[[nodiscard]] std::vector<ChunkDataset> chunk_datasets(const ChunkSpec& spec);
[[nodiscard]] inline std::size_t activations_of(std::size_t hook) {
  return kIdentityDatasets + 2 * hook;
}
[[nodiscard]] inline std::size_t hook_excluded_of(std::size_t hook) {
  return kIdentityDatasets + 2 * hook + 1;
}

struct ChunkLayout {
  ChunkSpec spec;
  std::string software_version;
  bool complete = false;
  std::string content_digest;
  std::vector<ChunkDataset> datasets;          // with offsets
  std::vector<std::uint64_t> block_checksums;  // meaningful once complete
};

inline constexpr const char* kChunkSchema = "activation-chunk";

// A new file of full size under `part`, its disk space reserved, synced.
void create_chunk_file(const fs::path& part, const ChunkSpec& spec);
// Throws DataError when damaged or of another schema.
[[nodiscard]] ChunkLayout read_chunk_layout(const fs::path& path, const Parents& expected);
[[nodiscard]] std::string chunk_digest(const ChunkSpec& spec,
                                       std::span<const std::uint64_t> checksums);
// Checksums, digest and complete flag into a file nobody else has open.
void complete_chunk_file(const fs::path& part, const ChunkSpec& spec,
                         std::span<const std::uint64_t> checksums);

// xxh3 of a block as it lies in the file.
[[nodiscard]] std::uint64_t checksum_of_block(const FileDescriptor& file, const ChunkLayout& layout,
                                              std::uint64_t block);

}  // namespace refract
