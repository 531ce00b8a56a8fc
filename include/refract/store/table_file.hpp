#pragma once
// Named 1-D and 2-D datasets in one HDF5 file, written whole: what token shards, context tables,
// calibration and feature statistics are made of. Strings are byte blobs with u64 offsets, so that
// any reader can slice them. A file is opened with HDF5, which only one thread may do; what is in
// it is then read by pread, from any thread.
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "refract/base/dtype.hpp"
#include "refract/store/artifact.hpp"
#include "refract/store/claim.hpp"

namespace refract {

class FileDigests;

template <typename T>
concept TableValue =
    std::same_as<T, float> || std::same_as<T, double> || std::same_as<T, std::uint8_t> ||
    std::same_as<T, std::uint16_t> || std::same_as<T, std::uint32_t> ||
    std::same_as<T, std::uint64_t> || std::same_as<T, std::int64_t>;

template <TableValue T>
[[nodiscard]] constexpr DType dtype_of() {
  if constexpr (std::same_as<T, float>)
    return DType::f32;
  else if constexpr (std::same_as<T, double>)
    return DType::f64;
  else if constexpr (std::same_as<T, std::uint8_t>)
    return DType::u8;
  else if constexpr (std::same_as<T, std::uint16_t>)
    return DType::u16;
  else if constexpr (std::same_as<T, std::uint32_t>)
    return DType::u32;
  else if constexpr (std::same_as<T, std::uint64_t>)
    return DType::u64;
  else
    return DType::i64;
}

// Columns are gathered by reference (a temporary vector is kept) and written by finish(), so what
// was added must live until then. A name may hold folders ("documents/page_id"). Without finish()
// no file appears.
class TableWriter {
 public:
  TableWriter(std::filesystem::path path, ArtifactHeader header);
  ~TableWriter();
  TableWriter(TableWriter&&) noexcept;
  TableWriter& operator=(TableWriter&&) noexcept;

  // axes: the axis string stored beside the data, e.g. "F" or "D,D"; it also tells which numbers go
  // together.
  template <TableValue T>
  void add(std::string name, const std::vector<T>& values, std::string axes) {
    add_bytes(std::move(name), dtype_of<T>(), {values.size()}, std::as_bytes(std::span(values)),
              std::move(axes));
  }
  template <TableValue T>
  void add(std::string name, std::vector<T>&& values, std::string axes) {
    const auto kept = std::make_shared<const std::vector<T>>(std::move(values));
    keep(kept);
    add(std::move(name), *kept, std::move(axes));
  }
  template <TableValue T>
  void add_matrix(std::string name, std::span<const T> values, std::size_t rows,
                  std::size_t columns, std::string axes) {
    add_bytes(std::move(name), dtype_of<T>(), {rows, columns}, std::as_bytes(values),
              std::move(axes));
  }
  // <name>_bytes u8 and <name>_offsets u64 [n+1]; copied, so `values` may go at once.
  void add_strings(const std::string& name, std::span<const std::string> values,
                   const std::string& axes);
  void add_bytes(std::string name, DType dtype, std::vector<std::uint64_t> shape,
                 std::span<const std::byte> bytes, std::string axes);
  void attribute(const std::string& name, std::string_view text);
  void attribute(const std::string& name, const char* text) {
    attribute(name, std::string_view(text));
  }
  void attribute(const std::string& name, std::uint64_t value);

  // Writes under the temporary name, syncs, renames while the claim is still the caller's. Returns
  // the content digest (16 hex characters), which covers schema, version, parents, attributes and
  // every dataset, but not the software version.
  // The file ends with a mark behind the HDF5 data, where no HDF5 reader looks: "\nrefract-xxh3 <16
  // hex digits>\n", the XXH3-64 of all bytes before it.
  std::string finish(const ClaimMark& claim = {});

 private:
  void keep(std::shared_ptr<const void> values);
  struct Content;
  std::unique_ptr<Content> content_;
};

struct ColumnInfo {
  std::string name;
  DType dtype = DType::u8;
  std::vector<std::uint64_t> shape;
  std::string axes;
};

class TableFile {
 public:
  // whole_file: every byte against the end mark before HDF5 reads any of them (its library does not
  // survive every change of its own bytes). none: for who looked at the file before, in this start.
  enum class Checks { whole_file, none };
  // DataError when the file is missing or made for other parents, Damaged when it is cut short,
  // OtherSchema when of another schema or version.
  TableFile(std::filesystem::path path, const ArtifactExpectation& expected,
            Checks checks = Checks::whole_file);
  // whole_file, unless `seen` knows that this very file was found whole before; remembers that it
  // was.
  TableFile(std::filesystem::path path, const ArtifactExpectation& expected, FileDigests& seen,
            const std::function<void()>& tick = {});
  ~TableFile();
  TableFile(TableFile&&) noexcept;
  TableFile& operator=(TableFile&&) noexcept;

  [[nodiscard]] const std::filesystem::path& path() const;
  [[nodiscard]] const ArtifactHeader& header() const;
  [[nodiscard]] std::string content_digest() const;  // as recorded when written
  // Re-reads everything, a few MiB at a time with a tick() each; Damaged when the digest differs.
  void verify_content(const std::function<void()>& tick = {}) const;
  [[nodiscard]] bool has(const std::string& name) const;
  // DataError lists what there is.
  [[nodiscard]] const ColumnInfo& column(const std::string& name) const;

  // Row-major values; the stored dtype must be T.
  template <TableValue T>
  [[nodiscard]] std::vector<T> read(const std::string& name) const {
    return read_rows<T>(name, 0, column(name).shape.at(0));
  }
  // Rows [first, first + count) of the first axis.
  template <TableValue T>
  [[nodiscard]] std::vector<T> read_rows(const std::string& name, std::uint64_t first,
                                         std::uint64_t count) const {
    std::vector<T> values(count * row_values(name));
    read_bytes(name, dtype_of<T>(), first, count, std::as_writable_bytes(std::span(values)));
    return values;
  }
  template <TableValue T>
  [[nodiscard]] T read_row(const std::string& name, std::uint64_t row) const {
    T value{};
    read_bytes(name, dtype_of<T>(), row, 1, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  // The first row for which holds(value) is true, of a column where it is false and then true; the
  // number of rows when it never is. Reads one value for each halving.
  template <TableValue T, typename Holds>
  [[nodiscard]] std::uint64_t first_row(const std::string& name, Holds&& holds) const {
    std::uint64_t first = 0, end = column(name).shape.at(0);
    while (first < end) {
      const std::uint64_t middle = first + (end - first) / 2;
      if (holds(read_row<T>(name, middle)))
        end = middle;
      else
        first = middle + 1;
    }
    return first;
  }
  [[nodiscard]] std::vector<std::string> read_strings(const std::string& name) const;
  [[nodiscard]] std::string read_string(const std::string& name, std::uint64_t row) const;
  [[nodiscard]] std::string text_attribute(const std::string& name) const;
  [[nodiscard]] std::uint64_t count_attribute(const std::string& name) const;

 private:
  [[nodiscard]] std::uint64_t row_values(const std::string& name) const;
  void read_bytes(const std::string& name, DType wanted, std::uint64_t first, std::uint64_t count,
                  std::span<std::byte> to) const;
  struct Open;
  std::unique_ptr<Open> open_;
};

}  // namespace refract
