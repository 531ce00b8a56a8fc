#pragma once
// What was found out about files that others may change, once: the SHA-256 of local shards, fetched
// shards and model weights; that a table is whole. Kept in <data_root>/digests.jsonl by device,
// inode, size, mtime and ctime (in nanoseconds). A file changed in place has other times, so it is
// read again. Lines are only ever appended; a torn or foreign line is passed over. What was read of
// a log is kept as long as the process lives: who opens it again reads what was appended since. Any
// thread.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace refract {

class FileDigests {
 public:
  // Reads what is known, if anything; SystemError when it cannot be read.
  explicit FileDigests(const std::filesystem::path& data_root);
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
  // What a file proves by itself (a table's end mark): check() is called unless this very file
  // passed it before, and throws when it does not pass.
  void expect_whole(const std::filesystem::path& file, const std::function<void()>& check);
  // Was written whole just now.
  void remember_whole(const std::filesystem::path& file);
  // Took the digest elsewhere (while fetching): remembers it for the file as it is now.
  void remember(const std::filesystem::path& file, const std::string& sha256);

 private:
  class Log;
  Log& log_;  // one for all objects of a data_root
};

}  // namespace refract
