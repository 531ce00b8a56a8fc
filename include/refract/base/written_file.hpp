#pragma once
// Files that are written now and settled later: handed to the system without a sync, with checksums
// of the bytes as they were handed over; who has the time syncs them and reads them again. A file
// may have several writers: each settles what it wrote.
// For the files of a folder that gets its final name when all of them are settled.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "refract/base/digest.hpp"
#include "refract/base/file.hpp"
#include "refract/base/file_descriptor.hpp"

namespace refract {

// `rows` runs of row_bytes, their beginnings `stride` apart.
struct WrittenPiece {
  std::uint64_t offset = 0, row_bytes = 0, rows = 1, stride = 0;
  std::uint64_t checksum = 0;  // XXH3-64 of the runs, one behind the other
};

// A file, or what one of its writers wrote of it.
struct WrittenFile {
  fs::path path;
  std::uint64_t bytes = 0;  // of the whole file
  std::vector<WrittenPiece> pieces;
};

// Writes pieces of a file, of which others may write other pieces. SystemError as in file.hpp.
class FileWriter {
 public:
  enum class Begin { create, join };  // create, or empty; join a file that was created
  FileWriter(const fs::path& path, std::uint64_t bytes, Begin begin = Begin::create);
  void write(std::uint64_t offset, std::span<const std::byte> bytes);
  // `bytes` are runs of row_bytes, one behind the other.
  void write_rows(std::uint64_t offset, std::uint64_t row_bytes, std::uint64_t stride,
                  std::span<const std::byte> bytes);
  [[nodiscard]] WrittenFile close();

 private:
  FileDescriptor file_;
  WrittenFile written_;
};

[[nodiscard]] WrittenFile write_unsynced(const fs::path& path, std::string_view text);

// Syncs the file, has the system forget its pages where it does that, reads the pieces again and
// compares.
// between_pieces() is called every few hundred KiB, and may throw. Any thread. SystemError when
// syncing or reading fails, Damaged when other bytes come back.
void settle(const WrittenFile& file, const std::function<void()>& between_pieces = {});

}  // namespace refract
