#include "refract/base/written_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"

namespace refract {
namespace {

// Small enough to stay in the cache from the checksum to the copy into the system's pages.
constexpr std::size_t kPieceBytes = std::size_t{256} << 10;

struct Closed {
  int file;
  ~Closed() { ::close(file); }
};

}  // namespace

FileWriter::FileWriter(fs::path path, Digest digest)
    : written_{.path = std::move(path), .bytes = 0, .checksum = 0, .sha256 = {}},
      file_(::open(written_.path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
  if (file_ < 0) throw_file_error("creating", written_.path, errno);
  if (digest == Digest::sha256) sha256_.emplace();
}

FileWriter::~FileWriter() {
  if (file_ >= 0) ::close(file_);
}

void FileWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    std::span<const std::byte> piece = bytes.first(std::min(bytes.size(), kPieceBytes));
    bytes = bytes.subspan(piece.size());
    checksum_.add(piece);
    if (sha256_) sha256_->add(piece);
    written_.bytes += piece.size();
    while (!piece.empty()) {
      const ssize_t taken = ::write(file_, piece.data(), piece.size());
      if (taken < 0 && errno == EINTR) continue;
      if (taken < 0) throw_file_error("writing", written_.path, errno);
      piece = piece.subspan(static_cast<std::size_t>(taken));
    }
    tick();
  }
}

void FileWriter::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

WrittenFile FileWriter::close() {
  if (::close(std::exchange(file_, -1)) != 0) throw_file_error("closing", written_.path, errno);
  written_.checksum = checksum_.value();
  if (sha256_) written_.sha256 = sha256_->hex();
  return std::move(written_);
}

WrittenFile write_unsynced(const fs::path& path, std::string_view text) {
  FileWriter file(path);
  file.write(text);
  return file.close();
}

void settle(const WrittenFile& file, const std::function<void()>& between_pieces) {
  sync_path(file.path);
  const int opened = ::open(file.path.c_str(), O_RDONLY | O_CLOEXEC);
  if (opened < 0) throw_file_error("reading", file.path, errno);
  const Closed closed{opened};
  (void)::posix_fadvise(opened, 0, 0, POSIX_FADV_DONTNEED);  // a wish; some file systems cannot
  Xxh3 checksum;
  std::uint64_t bytes = 0;
  std::vector<std::byte> piece(kPieceBytes);
  while (true) {
    const ssize_t got = ::read(opened, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_file_error("reading", file.path, errno);
    if (got == 0) break;
    checksum.add(std::span(piece).first(static_cast<std::size_t>(got)));
    bytes += static_cast<std::uint64_t>(got);
    tick();
    if (between_pieces) between_pieces();
  }
  if (bytes != file.bytes || checksum.value() != file.checksum)
    throw Damaged(
        "{} does not give back what was written to it ({} bytes with checksum {}, written were {} "
        "with {}): look for faults of that disk",
        file.path.string(), bytes, hex(checksum.value()), file.bytes, hex(file.checksum));
}

}  // namespace refract
