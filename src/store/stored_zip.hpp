#pragma once
// A zip archive of entries that are stored as they are, in Zip64 form whatever its size: what is
// written for a terabyte is what was tested. No dates; bytes are a function of the arguments.
#include <cstddef>
#include <span>
#include <string>

#include "refract/base/written_file.hpp"

namespace refract {

struct ZipEntry {
  std::string name;
  std::span<const std::byte> bytes;
};

// Unsynced, under `path` itself (written_file.hpp). The bytes of each entry begin at a multiple
// of 64.
[[nodiscard]] WrittenFile write_stored_zip(const std::filesystem::path& path,
                                           std::span<const ZipEntry> entries);

}  // namespace refract
