#include <string>

#include "corpus/decompress.hpp"
#include "refract/base/error.hpp"
#include "refract/corpus/read_shard.hpp"

namespace refract {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLongestLine = std::size_t{1} << 30;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// Without the mark that some editors put before UTF-8 (also where such files were joined) and
// without the return of a DOS line end.
std::string_view bare(std::string_view line) {
  if (line.starts_with(kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

void expect_not_utf16(std::string_view first, const fs::path& file) {
  if (first.starts_with("\xFF\xFE") || first.starts_with("\xFE\xFF"))
    throw DataError(
        "shard {} is UTF-16 text (its byte order mark says so), expected UTF-8: convert it, e.g. "
        "with iconv -f UTF-16 -t UTF-8",
        file.string());
}

}  // namespace

void for_each_line(const fs::path& file,
                   const std::function<void(std::string_view line, std::uint64_t number)>& line) {
  std::string pending;  // read, not yet handed out; begins at the start of a line
  std::uint64_t number = 0;
  bool begun = false;
  const std::string fault = decompress(file, [&](std::string_view piece) {
    if (!std::exchange(begun, true)) expect_not_utf16(piece, file);
    std::size_t search = pending.size();
    pending += piece;
    std::size_t begin = 0;
    for (std::size_t end; (end = pending.find('\n', search)) != std::string::npos;
         begin = search = end + 1)
      line(bare(std::string_view(pending).substr(begin, end - begin)), ++number);
    pending.erase(0, begin);
    if (pending.size() > kLongestLine)
      throw DataError("shard {} has a line longer than 1 GiB (line {}): it is not JSON lines",
                      file.string(), number + 1);
  });
  if (!fault.empty())
    throw DataError(
        "shard {} is cut short or damaged at line {}: {}. It has the bytes that the source gave: "
        "mend or replace it there, or leave it out of source.from",
        file.string(), number + 1, fault);
  if (!pending.empty()) line(bare(pending), ++number);
}

}  // namespace refract
