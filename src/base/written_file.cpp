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

// Of what the runs of a piece hold, in order.
template <typename Take>
void for_runs(const WrittenPiece& piece, Take&& take) {
  for (std::uint64_t row = 0; row < piece.rows; ++row)
    for (std::uint64_t at = 0; at < piece.row_bytes; at += kPieceBytes)
      take(piece.offset + row * piece.stride + at,
           static_cast<std::size_t>(std::min<std::uint64_t>(kPieceBytes, piece.row_bytes - at)));
}

}  // namespace

FileWriter::FileWriter(const fs::path& path, std::uint64_t bytes, Begin begin)
    : file_(path, begin == Begin::create ? O_WRONLY | O_CREAT | O_TRUNC : O_WRONLY,
            begin == Begin::create ? "creating" : "writing"),
      written_{.path = path, .bytes = bytes, .pieces = {}} {
  if (begin == Begin::create) file_.truncate(bytes);
}

void FileWriter::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  write_rows(offset, bytes.size(), bytes.size(), bytes);
}

void FileWriter::write_rows(std::uint64_t offset, std::uint64_t row_bytes, std::uint64_t stride,
                            std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  WrittenPiece piece{offset, row_bytes, bytes.size() / row_bytes, stride, 0};
  REFRACT_ASSERT(piece.rows * row_bytes == bytes.size(), "{} bytes are no rows of {}", bytes.size(),
                 row_bytes);
  if (row_bytes == stride) piece = {offset, bytes.size(), 1, bytes.size(), 0};  // one run
  Xxh3 checksum;
  for_runs(piece, [&](std::uint64_t at, std::size_t size) {
    const std::span<const std::byte> run = bytes.first(size);
    bytes = bytes.subspan(size);
    checksum.add(run);
    file_.write_at(at, run);
    tick();
  });
  piece.checksum = checksum.value();
  written_.pieces.push_back(piece);
}

WrittenFile FileWriter::close() {
  file_ = FileDescriptor();  // what closing would say, settle's sync says
  return std::move(written_);
}

WrittenFile write_unsynced(const fs::path& path, std::string_view text) {
  FileWriter file(path, text.size());
  file.write(0, std::as_bytes(std::span(text)));
  return file.close();
}

void settle(const WrittenFile& file, const std::function<void()>& between_pieces) {
  sync_path(file.path);
  const FileDescriptor opened(file.path, O_RDONLY, "reading");
  // A wish; some file systems cannot.
  (void)::posix_fadvise(opened.number(), 0, 0, POSIX_FADV_DONTNEED);
  if (const std::uint64_t found = opened.size(); found != file.bytes)
    throw Damaged(
        "{} does not give back what was written to it ({} bytes, written were {}): look "
        "for faults of that disk",
        file.path.string(), found, file.bytes);
  std::vector<std::byte> room(kPieceBytes);
  for (const WrittenPiece& piece : file.pieces) {
    Xxh3 checksum;
    for_runs(piece, [&](std::uint64_t at, std::size_t size) {
      const std::span<std::byte> run = std::span(room).first(size);
      opened.read_at(at, run);
      checksum.add(run);
      tick();
      if (between_pieces) between_pieces();
    });
    if (checksum.value() != piece.checksum)
      throw Damaged(
          "{} does not give back what was written to it (from byte {} on checksum {}, written was "
          "{}): look for faults of that disk",
          file.path.string(), piece.offset, hex(checksum.value()), hex(piece.checksum));
  }
}

}  // namespace refract
