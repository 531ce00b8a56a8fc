#include "refract/store/window.hpp"

#include <algorithm>

#include "refract/base/error.hpp"

namespace refract {
namespace {

constexpr const char* kSchema = "window-order";
}  // namespace

std::string write_window(const std::filesystem::path& path, const WindowData& data,
                         std::uint64_t window, const Parents& parents, const ClaimMark& claim) {
  REFRACT_ASSERT(data.contexts.size() == data.row_ends.size(), "{} contexts, {} row ends",
                 data.contexts.size(), data.row_ends.size());
  TableWriter table(path, {kSchema, kSchemaVersion, "tokenize", parents, {}});
  table.attribute("window", window);
  table.attribute("rows", data.rows());
  table.add("contexts", data.contexts, "contexts");
  table.add("row_ends", data.row_ends, "contexts");
  return table.finish(claim);
}

Window::Window(TableFile file)
    : file_(std::move(file)),
      window_(file_.count_attribute("window")),
      rows_(file_.count_attribute("rows")),
      contexts_(file_.column("contexts").shape[0]) {
  const bool fits =
      file_.column("row_ends").shape[0] == contexts_ &&
      (contexts_ == 0 ? 0 : file_.read_row<std::uint64_t>("row_ends", contexts_ - 1)) == rows_;
  if (!fits)
    throw Damaged("{}: row_ends do not fit {} contexts with {} rows", file_.path().string(),
                  contexts_, rows_);
}

Window::Window(const std::filesystem::path& path, const Parents& expected, TableFile::Checks checks)
    : Window(TableFile(path, {kSchema, kSchemaVersion, expected}, checks)) {}

Window::Window(const std::filesystem::path& path, const Parents& expected, FileDigests& seen)
    : Window(TableFile(path, {kSchema, kSchemaVersion, expected}, seen)) {}

std::vector<ContextPart> Window::parts(std::uint64_t first, std::uint64_t count) const {
  REFRACT_ASSERT(first + count <= rows_, "{}: rows {}+{} of {}", file_.path().string(), first,
                 count, rows_);
  std::vector<ContextPart> parts;
  if (count == 0) return parts;
  const auto context_of = [&](std::uint64_t row) {
    return file_.first_row<std::uint64_t>("row_ends",
                                          [row](std::uint64_t end) { return end > row; });
  };
  const std::uint64_t begin = context_of(first), end = context_of(first + count - 1) + 1;
  const auto damaged = [&] {
    throw Damaged("{}: row_ends do not ascend at rows {}+{}", file_.path().string(), first, count);
  };
  if (begin >= end || end > contexts_) damaged();
  const auto contexts = file_.read_rows<std::uint64_t>("contexts", begin, end - begin);
  const auto ends = file_.read_rows<std::uint64_t>("row_ends", begin, end - begin);
  std::uint64_t start = begin == 0 ? 0 : file_.read_row<std::uint64_t>("row_ends", begin - 1);
  std::uint64_t at = first;
  for (std::size_t i = 0; i < contexts.size(); ++i) {
    if (start > at || ends[i] <= at) damaged();
    const std::uint64_t stop = std::min(first + count, ends[i]);
    parts.push_back({contexts[i], static_cast<std::uint32_t>(at - start),
                     static_cast<std::uint32_t>(stop - at)});
    at = stop;
    start = ends[i];
  }
  if (at != first + count) damaged();
  return parts;
}

}  // namespace refract
