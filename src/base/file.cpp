#include "refract/base/file.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "refract/base/error.hpp"

namespace refract {
namespace {

// Where the last whole line ends. Found from the end: a log may be long, what is torn is short.
std::uint64_t end_of_lines(const FileDescriptor& file) {
  constexpr std::uint64_t kPieceBytes = std::uint64_t{64} << 10;
  std::uint64_t end = file.size();
  std::string piece;
  while (end > 0) {
    piece.resize(static_cast<std::size_t>(std::min(end, kPieceBytes)));
    end -= piece.size();
    if (file.read_at_most(end, std::as_writable_bytes(std::span(piece))) != piece.size())
      throw SystemError("{} became shorter while it was opened: end what else writes it",
                        file.path().string());
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

void throw_damaged(const fs::path& path, std::string_view what) {
  throw Damaged("{} is damaged or not an artifact of refract: {}", path.string(), what);
}

std::string read_file(const fs::path& path) {
  const FileDescriptor file = FileDescriptor::of_input(path);
  constexpr std::size_t kLeastRoom = 4096;  // files of /proc say that they are empty
  std::string text(static_cast<std::size_t>(file.size()) + 1, '\0');
  std::size_t filled = 0;
  while (true) {
    if (filled == text.size()) text.resize(2 * text.size() + kLeastRoom);
    const std::size_t got = file.read_next(std::as_writable_bytes(std::span(text)).subspan(filled));
    if (got == 0) break;
    filled += got;
  }
  text.resize(filled);
  return text;
}

fs::path part_name(const fs::path& final_name) { return final_name.string() + ".part"; }

void sync_path(const fs::path& path) {
  const FileDescriptor file(path, O_RDONLY, "syncing");
  if (::fsync(file.number()) != 0 && errno != EINVAL) throw_file_error("syncing", path, errno);
}

void rename_durably(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) throw_file_error("renaming to", to, errno);
  sync_path(parent_of(to));
}

void write_file(const fs::path& path, std::string_view bytes) {
  write_file(path, [bytes](const FileDescriptor& file) { file.write_next(bytes); });
}

void write_file(const fs::path& path, const std::function<void(const FileDescriptor&)>& fill) {
  const fs::path part = part_name(path);
  try {
    const FileDescriptor file(part, O_WRONLY | O_CREAT | O_TRUNC, "creating");
    fill(file);
    file.sync();
  } catch (...) {
    ::unlink(part.c_str());
    throw;
  }
  rename_durably(part, path);
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> made;
  for (fs::path path = folder; !path.empty() && !fs::exists(path, error); path = path.parent_path())
    made.push_back(path);
  fs::create_directories(folder, error);
  if (error) throw_file_error("creating the folder", folder, error.value());
  for (const fs::path& path : made) sync_path(parent_of(path));
}

void remove_all_quietly(const fs::path& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

MappedFile::MappedFile(const fs::path& path) {
  const FileDescriptor file = FileDescriptor::of_input(path);
  size_ = static_cast<std::size_t>(file.size());
  if (size_ == 0) throw DataError("{} is empty: fetch or make it again", path.string());
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.number(), 0);
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

AppendLog::AppendLog(fs::path path) : file_(std::move(path), O_RDWR | O_CREAT | O_APPEND) {
  const std::uint64_t whole = end_of_lines(file_);
  if (whole != size()) file_.truncate(whole);
}

void AppendLog::append(std::string_view line) {
  std::string bytes(line);
  bytes += '\n';
  file_.write_next(bytes);
  file_.sync();
}

void AppendLog::truncate(std::uint64_t bytes) { file_.truncate(bytes); }

std::uint64_t AppendLog::size() const { return file_.size(); }

}  // namespace refract
