#include <archive.h>
#include <archive_entry.h>

#include <array>
#include <memory>
#include <string>

#include "refract/base/error.hpp"
#include "refract/corpus/read_shard.hpp"

namespace refract {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kReadBytes = std::size_t{1} << 20;
constexpr std::size_t kLongestLine = std::size_t{1} << 30;

struct CloseArchive {
  void operator()(archive* open) const { archive_read_free(open); }
};

struct Compression {
  std::string_view extension;
  int filter;
};
constexpr Compression kCompressions[] = {{".gz", ARCHIVE_FILTER_GZIP},
                                         {".zst", ARCHIVE_FILTER_ZSTD},
                                         {".bz2", ARCHIVE_FILTER_BZIP2},
                                         {".xz", ARCHIVE_FILTER_XZ}};

// A damaged first byte would make compressed data look like plain text.
void expect_compression(archive* open, const fs::path& file) {
  for (const auto& [extension, filter] : kCompressions)
    if (file.extension() == extension && archive_filter_code(open, 0) != filter)
      throw DataError(
          "{} does not begin as a {} file does: it is damaged; remove it and download it again",
          file.string(), extension);
}

std::unique_ptr<archive, CloseArchive> open_shard(const fs::path& file) {
  std::unique_ptr<archive, CloseArchive> open(archive_read_new());
  archive_read_support_filter_gzip(open.get());
  archive_read_support_filter_zstd(open.get());
  archive_read_support_filter_bzip2(open.get());
  archive_read_support_filter_xz(open.get());
  archive_read_support_format_raw(open.get());
  archive_read_support_format_empty(open.get());
  archive_entry* entry = nullptr;
  if (archive_read_open_filename(open.get(), file.c_str(), kReadBytes) != ARCHIVE_OK)
    throw DataError("cannot open shard {}: {}", file.string(), archive_error_string(open.get()));
  const int code = archive_read_next_header(open.get(), &entry);
  if (code == ARCHIVE_EOF) return nullptr;  // an empty file
  if (code != ARCHIVE_OK)
    throw DataError("cannot read shard {}: {}; remove it and download it again", file.string(),
                    archive_error_string(open.get()));
  expect_compression(open.get(), file);
  return open;
}

std::string_view without_return(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

void for_each_line(const fs::path& file,
                   const std::function<void(std::string_view line, std::uint64_t number)>& line) {
  const auto shard = open_shard(file);
  if (!shard) return;
  std::string pending;  // read, not yet handed out; begins at the start of a line
  std::uint64_t number = 0;
  std::string buffer(kReadBytes, '\0');
  while (true) {
    const auto bytes = archive_read_data(shard.get(), buffer.data(), buffer.size());
    if (bytes < 0) {
      const char* reason = archive_error_string(shard.get());
      throw DataError(
          "shard {} is cut short or damaged at line {}: {}; remove it and download it again",
          file.string(), number + 1, reason != nullptr ? reason : "unknown cause");
    }
    if (bytes == 0) break;
    std::size_t search = pending.size();
    pending.append(buffer, 0, static_cast<std::size_t>(bytes));
    std::size_t begin = 0;
    for (std::size_t end; (end = pending.find('\n', search)) != std::string::npos;
         begin = search = end + 1)
      line(without_return(std::string_view(pending).substr(begin, end - begin)), ++number);
    pending.erase(0, begin);
    if (pending.size() > kLongestLine)
      throw DataError("shard {} has a line longer than 1 GiB (line {}): it is not JSON lines",
                      file.string(), number + 1);
  }
  if (!pending.empty()) line(without_return(pending), ++number);
}

}  // namespace refract
