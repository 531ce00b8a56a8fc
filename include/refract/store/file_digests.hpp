#pragma once
// SHA-256 of files that are not ours to change (local shards, model weights), each computed once:
// kept in <data_root>/digests.jsonl by device, inode, size, mtime and ctime (in nanoseconds). A
// file changed in place has other times, so it is read again. Lines are only ever appended; a torn
// or foreign line is passed over.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <unordered_map>

namespace refract {

class FileDigests {
 public:
  explicit FileDigests(const std::filesystem::path& data_root);  // reads what is known, if anything
  // 64 hex characters. tick() is called every few megabytes while a file is read. DataError when it
  // cannot be read.
  [[nodiscard]] std::string sha256(const std::filesystem::path& file,
                                   const std::function<void()>& tick = {});
  // What is known without reading the file; empty when nothing is.
  [[nodiscard]] std::string known(const std::filesystem::path& file) const;
  // Took the digest elsewhere (while fetching): remembers it for the file as it is now.
  void remember(const std::filesystem::path& file, const std::string& sha256);

 private:
  std::filesystem::path log_;
  std::unordered_map<std::string, std::string> known_;  // device, inode, size, times -> digest
};

}  // namespace refract
