#pragma once
// chunk-N.blocks.<rank>: one line "<block> <xxh3 in hex>" for each block that rank has on disk. A
// line a kill has torn is not counted.
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace refract {

struct BlockRecord {
  std::uint64_t block = 0, checksum = 0;
};

[[nodiscard]] std::filesystem::path block_list_path(const std::filesystem::path& chunk, int rank);
[[nodiscard]] std::string block_line(const BlockRecord& record);
// Every list of this chunk, of whatever rank count: block -> checksums claimed.
[[nodiscard]] std::multimap<std::uint64_t, std::uint64_t> read_block_lists(
    const std::filesystem::path& chunk);
void remove_block_lists(const std::filesystem::path& chunk);

}  // namespace refract
