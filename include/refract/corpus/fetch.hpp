#pragma once
// Fetching one file by URL, resumable: bytes go to "<target>.part", a later call continues where it
// ends. One process at a time for a target: the caller holds its claim.
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
  long stall_timeout_s = 60;  // no byte for so long ends an attempt
  // Bytes received since the last call, 0 while none come; may be empty, may throw.
  std::function<void(std::uint64_t)> advanced;
  std::function<void()> before_rename;  // the last word: what it throws leaves the part file
};

// After the last byte the size and (where known) the SHA-256 are compared with `shard`, then the
// file gets its final name, in place of what had it. SystemError when it cannot be fetched,
// DataError when what arrived is not what was promised; the wrong file is removed.
FetchedFile fetch(const ShardRef& shard, const std::filesystem::path& target,
                  const FetchOptions& options = {});

}  // namespace refract
