#include "refract/base/file_descriptor.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"

namespace refract {
namespace {

template <typename Call>
ssize_t uninterrupted(Call call) {
  ssize_t result = 0;
  do result = call();
  while (result < 0 && errno == EINTR);
  return result;
}

}  // namespace

FileDescriptor::FileDescriptor(fs::path path, int flags, std::string_view doing, mode_t mode)
    : FileDescriptor(try_open(std::move(path), flags, mode)) {
  if (!is_open()) throw_file_error(doing, path_, errno);
}

FileDescriptor FileDescriptor::of_input(fs::path path) {
  FileDescriptor file = try_open(std::move(path), O_RDONLY);
  if (!file.is_open())
    throw DataError("cannot read {}: {}", file.path_.string(), std::strerror(errno));
  struct stat status {};
  if (::fstat(file.number_, &status) == 0 && S_ISDIR(status.st_mode))
    throw DataError("cannot read {}: it is a directory, where a file belongs", file.path_.string());
  return file;
}

FileDescriptor FileDescriptor::try_open(fs::path path, int flags, mode_t mode) noexcept {
  FileDescriptor file;
  file.path_ = std::move(path);
  file.number_ = ::open(file.path_.c_str(), flags | O_CLOEXEC, mode);
  return file;
}

FileDescriptor::~FileDescriptor() {
  if (is_open()) ::close(number_);
}
FileDescriptor::FileDescriptor(FileDescriptor&& other) noexcept
    : path_(std::move(other.path_)), number_(std::exchange(other.number_, -1)) {}
FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(number_, other.number_);
  return *this;
}

std::uint64_t FileDescriptor::size() const {
  struct stat status {};
  if (::fstat(number_, &status) != 0) throw_file_error("reading the size of", path_, errno);
  return static_cast<std::uint64_t>(status.st_size);
}

void FileDescriptor::read_at(std::uint64_t offset, std::span<std::byte> to) const {
  if (read_at_most(offset, to) < to.size())
    throw_damaged(path_, fmt::format("it ends before byte {}", offset + to.size()));
}

std::size_t FileDescriptor::read_at_most(std::uint64_t offset, std::span<std::byte> to) const {
  std::size_t filled = 0;
  while (filled < to.size()) {
    const ssize_t got = uninterrupted([&] {
      return ::pread(number_, to.data() + filled, to.size() - filled,
                     static_cast<off_t>(offset + filled));
    });
    if (got < 0) throw_file_error("reading", path_, errno);
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  return filled;
}

void FileDescriptor::write_at(std::uint64_t offset, std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t written = uninterrupted(
        [&] { return ::pwrite(number_, bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
    if (written < 0) throw_file_error("writing", path_, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
}

std::size_t FileDescriptor::read_next(std::span<std::byte> to) const {
  const ssize_t got = uninterrupted([&] { return ::read(number_, to.data(), to.size()); });
  if (got < 0) throw_file_error("reading", path_, errno);
  return static_cast<std::size_t>(got);
}

void FileDescriptor::write_next(std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t written =
        uninterrupted([&] { return ::write(number_, bytes.data(), bytes.size()); });
    if (written < 0) throw_file_error("writing", path_, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void FileDescriptor::truncate(std::uint64_t bytes) const {
  if (::ftruncate(number_, static_cast<off_t>(bytes)) != 0)
    throw_file_error("truncating", path_, errno);
}

void FileDescriptor::sync() const {
  if (::fsync(number_) != 0) throw_file_error("syncing", path_, errno);
}

void FileDescriptor::sync_data() const {
  if (::fdatasync(number_) != 0) throw_file_error("syncing", path_, errno);
}

}  // namespace refract
