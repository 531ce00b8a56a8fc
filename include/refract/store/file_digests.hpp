#pragma once
// SHA-256 of files that others may change (local shards, fetched shards, model weights), each
// computed once: kept in <data_root>/digests.jsonl by device, inode, size, mtime and ctime (in
// nanoseconds). A file changed in place has other times, so it is read again. Lines are only ever
// appended; a torn or foreign line is passed over. Any thread.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <unordered_map>

namespace refract {

class FileDigests {
 public:
  explicit FileDigests(const std::filesystem::path& data_root);  // reads what is known, if anything
  // 64 hex characters. tick() is called every few megabytes while a file is read. DataError when it
  // cannot be read, or changes while it is. A file changed in the last moments is not remembered:
  // it could change again within one tick of the clock that stamps it.
  [[nodiscard]] std::string sha256(const std::filesystem::path& file,
                                   const std::function<void()>& tick = {});
  // What is known without reading the file; empty when nothing is.
  [[nodiscard]] std::string known(const std::filesystem::path& file) const;
  // Reads the file whatever is known of it, and remembers what it found.
  std::string sha256_again(const std::filesystem::path& file,
                           const std::function<void()>& tick = {});
  // Took the digest elsewhere (while fetching): remembers it for the file as it is now.
  void remember(const std::filesystem::path& file, const std::string& sha256);

 private:
  void keep(const std::string& key, const std::string& sha256);

  std::filesystem::path log_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::string> known_;  // device, inode, size, times -> digest
};

}  // namespace refract
