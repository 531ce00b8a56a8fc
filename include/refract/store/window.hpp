#pragma once
// A window's order: which contexts its rows come from, one after the other; schema window-order,
// SPEC 2. Written once, by one rank; read by slice by all.
#include <cstdint>
#include <filesystem>
#include <vector>

#include "refract/store/artifact.hpp"
#include "refract/store/claim.hpp"
#include "refract/store/table_file.hpp"

namespace refract {

// Contexts without a selected row are not in it.
struct WindowData {
  std::vector<std::uint64_t> contexts;  // [contexts] shard ordinal << 32 | context, permuted
  std::vector<std::uint64_t> row_ends;  // [contexts] running end of each one's rows in the window
  [[nodiscard]] std::uint64_t rows() const { return row_ends.empty() ? 0 : row_ends.back(); }
};

// Rows [first, first + count) of a context's selected rows.
struct ContextPart {
  std::uint64_t context = 0;  // shard ordinal << 32 | context
  std::uint32_t first = 0, count = 0;
  friend bool operator==(const ContextPart&, const ContextPart&) = default;
};

// Written whole under its final name, while the claim is the caller's; returns the content digest.
std::string write_window(const std::filesystem::path& path, const WindowData& data,
                         std::uint64_t window, const Parents& parents, const ClaimMark& claim = {});

// Holds its header alone: finding a row costs a dozen reads of 8 bytes, and one of what is asked
// for.
class Window {
 public:
  // Damaged, OtherSchema, DataError: as TableFile.
  explicit Window(const std::filesystem::path& path, const Parents& expected = {},
                  TableFile::Checks checks = TableFile::Checks::none);
  Window(const std::filesystem::path& path, const Parents& expected, FileDigests& seen);

  [[nodiscard]] std::uint64_t window() const { return window_; }
  [[nodiscard]] std::uint64_t rows() const { return rows_; }
  [[nodiscard]] std::uint64_t contexts() const { return contexts_; }
  // The contexts of rows [first, first + count) of the window, in their order; any thread. Damaged
  // when the file's numbers contradict each other.
  [[nodiscard]] std::vector<ContextPart> parts(std::uint64_t first, std::uint64_t count) const;

 private:
  explicit Window(TableFile file);
  TableFile file_;
  std::uint64_t window_ = 0, rows_ = 0, contexts_ = 0;
};

}  // namespace refract
