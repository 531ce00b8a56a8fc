#pragma once
// Files that are written now and settled later: handed to the system without a sync, with a
// checksum of the bytes as they were handed over; who has the time syncs them and reads them again.
// For the files of a folder that gets its final name when all of them are settled.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "refract/base/digest.hpp"
#include "refract/base/file.hpp"
#include "refract/base/file_descriptor.hpp"

namespace refract {

struct WrittenFile {
  fs::path path;
  std::uint64_t bytes = 0;
  std::uint64_t checksum = 0;  // XXH3-64
  std::string sha256;          // empty unless asked for
};

// Writes a file from its first byte to its last. SystemError as in file.hpp.
class FileWriter {
 public:
  enum class Digest { none, sha256 };
  explicit FileWriter(const fs::path& path, Digest digest = Digest::none);  // creates, or empties
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  [[nodiscard]] std::uint64_t bytes() const { return written_.bytes; }
  [[nodiscard]] WrittenFile close();

 private:
  FileDescriptor file_;
  WrittenFile written_;
  Xxh3 checksum_;
  std::optional<Sha256> sha256_;
};

[[nodiscard]] WrittenFile write_unsynced(const fs::path& path, std::string_view text);

// Syncs the file, has the system forget its pages where it does that, reads it again and compares.
// between_pieces() is called every few hundred KiB, and may throw. Any thread. SystemError when
// syncing or reading fails, Damaged when other bytes come back.
void settle(const WrittenFile& file, const std::function<void()>& between_pieces = {});

}  // namespace refract
