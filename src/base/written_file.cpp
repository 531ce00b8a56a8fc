#include "refract/base/written_file.hpp"

#include <fcntl.h>

#include <algorithm>
#include <vector>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"

namespace refract {
namespace {

// Small enough to stay in the cache from the checksum to the copy into the system's pages.
constexpr std::size_t kPieceBytes = std::size_t{256} << 10;

}  // namespace

FileWriter::FileWriter(const fs::path& path, Digest digest)
    : file_(path, O_WRONLY | O_CREAT | O_TRUNC, "creating"),
      written_{.path = path, .bytes = 0, .checksum = 0, .sha256 = {}} {
  if (digest == Digest::sha256) sha256_.emplace();
}

void FileWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::span<const std::byte> piece = bytes.first(std::min(bytes.size(), kPieceBytes));
    bytes = bytes.subspan(piece.size());
    checksum_.add(piece);
    if (sha256_) sha256_->add(piece);
    written_.bytes += piece.size();
    file_.write_next(piece);
    tick();
  }
}

void FileWriter::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

WrittenFile FileWriter::close() {
  file_ = FileDescriptor();  // what closing would say, settle's sync says
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
  const FileDescriptor opened(file.path, O_RDONLY, "reading");
  // A wish; some file systems cannot.
  (void)::posix_fadvise(opened.number(), 0, 0, POSIX_FADV_DONTNEED);
  Xxh3 checksum;
  std::uint64_t bytes = 0;
  std::vector<std::byte> piece(kPieceBytes);
  while (const std::size_t got = opened.read_next(piece)) {
    checksum.add(std::span(piece).first(got));
    bytes += got;
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
