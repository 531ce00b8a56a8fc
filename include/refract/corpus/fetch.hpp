#pragma once
// Fetching one file by URL, resumable: bytes go to "<target>.part", a later call continues where it
// ends.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "refract/corpus/source.hpp"

namespace refract {

struct FetchedFile {
  std::uint64_t bytes = 0;
  std::string sha256;
};

struct FetchOptions {
  int attempts = 5;  // of one file, each continuing the last
  long connect_timeout_s = 20;
  long stall_timeout_s = 60;                    // no byte for so long ends an attempt
  std::function<void(std::uint64_t)> advanced;  // bytes received since the last call; may be empty
};

// After the last byte the size and (where known) the SHA-256 are compared with `shard`, then the
// file gets its final name. SystemError when it cannot be fetched, DataError when what arrived is
// not what was promised; the wrong file is removed.
FetchedFile fetch(const ShardRef& shard, const std::filesystem::path& target,
                  const FetchOptions& options = {});

}  // namespace refract
