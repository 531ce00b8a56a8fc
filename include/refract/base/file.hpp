#pragma once
// Files that are whole under their final name: written under a temporary name beside it, synced,
// renamed. A full disk, a missing folder, a short write throw SystemError naming the path and what
// to do.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "refract/base/file_descriptor.hpp"

namespace refract {

// DataError when it cannot be opened or is a directory; SystemError when reading fails on the way:
// never a part of the file.
[[nodiscard]] std::string read_file(const fs::path& path);
void write_file(const fs::path& path,
                std::string_view bytes);  // temporary name, fsync, rename, fsync folder
// The same for what is written piece by piece: `fill` writes, nothing is left where it throws.
void write_file(const fs::path& path, const std::function<void(const FileDescriptor&)>& fill);
void sync_path(const fs::path& path);  // fsync a file or a folder
void rename_durably(const fs::path& from,
                    const fs::path& to);  // rename + fsync of the parent; replaces a file
// The temporary twin of a final name: "<name>.part" beside it.
[[nodiscard]] fs::path part_name(const fs::path& final_name);
// With parents, each synced into its own; SystemError names the reason.
void make_folder(const fs::path& folder);
void remove_all_quietly(const fs::path& path);
[[nodiscard]] bool is_there(const fs::path& path);  // false also where it cannot be told
// Throws SystemError("disk full ...") when errno says so, else a SystemError with the system's
// text.
[[noreturn]] void throw_file_error(std::string_view doing, const fs::path& path, int error_number);
[[noreturn]] void throw_damaged(const fs::path& path, std::string_view what);  // Damaged

// A local file that lives only in the address space: mapped read-only.
class MappedFile {
 public:
  explicit MappedFile(const fs::path& path);  // DataError when absent or empty
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// An append-only log of lines (ledger, metrics): each line is written whole and synced; a torn last
// line, left by a kill, is cut when the log is opened. SystemError, and nothing is cut, when its
// end cannot be read.
class AppendLog {
 public:
  explicit AppendLog(fs::path path);
  void append(std::string_view line);  // without the newline
  void truncate(std::uint64_t bytes);  // back to a recorded length
  [[nodiscard]] std::uint64_t size() const;
  [[nodiscard]] const fs::path& path() const { return file_.path(); }

 private:
  FileDescriptor file_;
};

}  // namespace refract
