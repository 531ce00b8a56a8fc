#include "refract/base/file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "refract/base/error.hpp"

namespace refract {
namespace {

class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags, std::string_view doing)
      : file_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    if (file_ < 0) throw_file_error(doing, path, errno);
  }
  explicit Descriptor(int file) : file_(file) {}
  ~Descriptor() {
    if (file_ >= 0) ::close(file_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int number() const { return file_; }
  [[nodiscard]] int release() { return std::exchange(file_, -1); }

 private:
  int file_;
};

void write_all(int file, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw_file_error("writing", path, errno);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

struct stat status_of(int file, const fs::path& path) {
  struct stat status {};
  if (::fstat(file, &status) != 0) throw_file_error("reading", path, errno);
  return status;
}

// Bytes from `offset` on; fewer than asked for only at the end of the file.
std::size_t read_at(int file, std::span<char> to, std::uint64_t offset, const fs::path& path) {
  std::size_t filled = 0;
  while (filled < to.size()) {
    const ssize_t got =
        ::pread(file, to.data() + filled, to.size() - filled, static_cast<off_t>(offset + filled));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_file_error("reading", path, errno);
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  return filled;
}

// Where the last whole line ends. Found from the end: a log may be long, what is torn is short.
std::uint64_t end_of_lines(int file, const fs::path& path) {
  constexpr std::uint64_t kPieceBytes = std::uint64_t{64} << 10;
  auto end = static_cast<std::uint64_t>(status_of(file, path).st_size);
  std::string piece;
  while (end > 0) {
    piece.resize(static_cast<std::size_t>(std::min(end, kPieceBytes)));
    end -= piece.size();
    if (read_at(file, piece, end, path) != piece.size())
      throw SystemError("{} became shorter while it was opened: end what else writes it",
                        path.string());
    if (const std::size_t newline = piece.rfind('\n'); newline != std::string::npos)
      return end + newline + 1;
  }
  return 0;
}

fs::path parent_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

}  // namespace

void throw_file_error(std::string_view doing, const fs::path& path, int error_number) {
  if (error_number == ENOSPC || error_number == EDQUOT)
    throw SystemError(
        "disk full while {} {}: free space there, or put run and data_root on a larger disk, and "
        "start again (nothing under a final name was harmed)",
        doing, path.string());
  if (error_number == EFBIG)
    throw SystemError(
        "{} {}: the file would be larger than this process may write. Raise the limit (ulimit -f) "
        "and start again (nothing under a final name was harmed)",
        doing, path.string());
  throw SystemError("{} {}: {}", doing, path.string(), std::strerror(error_number));
}

std::string read_file(const fs::path& path) {
  const int opened = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (opened < 0) throw DataError("cannot read {}: {}", path.string(), std::strerror(errno));
  const Descriptor file(opened);
  const struct stat status = status_of(opened, path);
  if (S_ISDIR(status.st_mode))
    throw DataError("cannot read {}: it is a directory, where a file belongs", path.string());
  constexpr std::size_t kLeastRoom = 4096;  // files of /proc say that they are empty
  std::string text(static_cast<std::size_t>(status.st_size) + 1, '\0');
  std::size_t filled = 0;
  while (true) {
    if (filled == text.size()) text.resize(2 * text.size() + kLeastRoom);
    const ssize_t got = ::read(opened, text.data() + filled, text.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_file_error("reading", path, errno);
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  text.resize(filled);
  return text;
}

fs::path part_name(const fs::path& final_name) { return final_name.string() + ".part"; }

void sync_path(const fs::path& path) {
  const Descriptor file(path, O_RDONLY, "syncing");
  if (::fsync(file.number()) != 0 && errno != EINVAL) throw_file_error("syncing", path, errno);
}

void rename_durably(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) throw_file_error("renaming to", to, errno);
  sync_path(parent_of(to));
}

void write_file(const fs::path& path, std::string_view bytes) {
  const fs::path part = part_name(path);
  try {
    const Descriptor file(part, O_WRONLY | O_CREAT | O_TRUNC, "creating");
    write_all(file.number(), bytes, part);
    if (::fsync(file.number()) != 0) throw_file_error("syncing", part, errno);
  } catch (...) {
    ::unlink(part.c_str());
    throw;
  }
  rename_durably(part, path);
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw_file_error("creating the folder", folder, error.value());
}

void remove_all_quietly(const fs::path& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

MappedFile::MappedFile(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw DataError("cannot read {}: {}", path.string(), std::strerror(errno));
  struct stat status {};
  if (::fstat(file, &status) != 0 || status.st_size == 0) {
    ::close(file);
    throw DataError("{} is empty: fetch or make it again", path.string());
  }
  size_ = static_cast<std::size_t>(status.st_size);
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
  ::close(file);
  if (address == MAP_FAILED) throw_file_error("mapping", path, errno);
  data_ = static_cast<const std::byte*>(address);
}
MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}
MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

AppendLog::AppendLog(fs::path path) : path_(std::move(path)) {
  Descriptor file(path_, O_RDWR | O_CREAT, "opening");
  const std::uint64_t whole = end_of_lines(file.number(), path_);
  file_ = file.release();
  if (whole != size()) truncate(whole);
  ::lseek(file_, 0, SEEK_END);
}
AppendLog::~AppendLog() {
  if (file_ >= 0) ::close(file_);
}
AppendLog::AppendLog(AppendLog&& other) noexcept
    : path_(std::move(other.path_)), file_(std::exchange(other.file_, -1)) {}

void AppendLog::append(std::string_view line) {
  std::string bytes(line);
  bytes += '\n';
  write_all(file_, bytes, path_);
  if (::fsync(file_) != 0) throw_file_error("syncing", path_, errno);
}

void AppendLog::truncate(std::uint64_t bytes) {
  if (::ftruncate(file_, static_cast<off_t>(bytes)) != 0)
    throw_file_error("truncating", path_, errno);
  ::lseek(file_, 0, SEEK_END);
}

std::uint64_t AppendLog::size() const {
  return static_cast<std::uint64_t>(status_of(file_, path_).st_size);
}

}  // namespace refract
