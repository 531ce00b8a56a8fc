#pragma once
// The one owner of a file descriptor. A read or write that was interrupted goes on; what the system
// refuses throws SystemError with the path and the system's text (throw_file_error).
#include <fcntl.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace refract {

namespace fs = std::filesystem;

inline constexpr mode_t kOwnersFile = 0644;  // of one run
inline constexpr mode_t kSharedFile = 0666;  // a data_root may be shared by a group: umask decides

class FileDescriptor {
 public:
  FileDescriptor() = default;  // owns nothing
  // Takes over what is open already: a pipe's end, a signalfd.
  explicit FileDescriptor(int number) : number_(number) {}
  // `flags` as open(2) has them; O_CLOEXEC is added. SystemError "<doing> <path>: ...".
  FileDescriptor(fs::path path, int flags, std::string_view doing = "opening",
                 mode_t mode = kOwnersFile);
  // DataError when it cannot be opened or is a directory: for what the user or a parent gives.
  [[nodiscard]] static FileDescriptor of_input(fs::path path);
  // Where failing is an answer: not is_open(), and errno says why.
  [[nodiscard]] static FileDescriptor try_open(fs::path path, int flags,
                                               mode_t mode = kOwnersFile) noexcept;
  ~FileDescriptor();
  FileDescriptor(FileDescriptor&& other) noexcept;
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;

  [[nodiscard]] bool is_open() const { return number_ >= 0; }
  [[nodiscard]] int number() const { return number_; }
  [[nodiscard]] const fs::path& path() const { return path_; }
  [[nodiscard]] std::uint64_t size() const;

  // By place: from any number of threads at once.
  void read_at(std::uint64_t offset,
               std::span<std::byte> to) const;  // Damaged: the file ends before
  // Bytes read; fewer than asked for only at the end of the file.
  [[nodiscard]] std::size_t read_at_most(std::uint64_t offset, std::span<std::byte> to) const;
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes) const;
  void write_at(std::uint64_t offset, std::string_view text) const {
    write_at(offset, std::as_bytes(std::span(text)));
  }

  // From where the last one ended (at the end of the file, with O_APPEND).
  [[nodiscard]] std::size_t read_next(std::span<std::byte> to) const;  // one piece; 0 at the end
  void write_next(std::span<const std::byte> bytes) const;
  void write_next(std::string_view text) const { write_next(std::as_bytes(std::span(text))); }

  void truncate(std::uint64_t bytes) const;
  void sync() const;       // bytes and everything about the file
  void sync_data() const;  // bytes, and the size where it changed

 private:
  fs::path path_;
  int number_ = -1;
};

}  // namespace refract
