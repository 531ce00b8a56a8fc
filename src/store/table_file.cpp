#include "refract/store/table_file.hpp"

#include <algorithm>
#include <map>

#include "refract/base/activity.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/store/file_digests.hpp"
#include "store/chunk_layout.hpp"
#include "store/hdf5_attributes.hpp"
#include "store/hdf5_datasets.hpp"
#include "store/hdf5_handle.hpp"

namespace refract {
namespace {

struct Column {
  ColumnInfo info;
  std::span<const std::byte> bytes;
};

// One line per fact, in name order, so that the digest does not depend on the order of writing.
class ContentDigest {
 public:
  explicit ContentDigest(const ArtifactHeader& header) {
    digest_.add(std::string_view(fmt::format("{} {}\n", header.schema, header.version)));
    for (const auto& [name, value] : header.parents)
      digest_.add(std::string_view(fmt::format("parent {} {}\n", name, value)));
  }
  void add(const std::string& name, const AttributeValue& value) {
    const auto* number = std::get_if<double>(&value);
    digest_.add(std::string_view(fmt::format(
        "attribute {} {}\n", name, number ? fmt::format("{:a}", *number) : print(value))));
  }
  void add(const ColumnInfo& info, std::span<const std::byte> bytes) {
    Sha256 content;
    content.add(bytes);
    add(info, content.hex());
  }
  void add(const ColumnInfo& info, const std::string& sha256) {
    digest_.add(std::string_view(fmt::format("column {} {} [{}] {} {}\n", info.name,
                                             refract::name(info.dtype), fmt::join(info.shape, ","),
                                             info.axes, sha256)));
  }
  [[nodiscard]] std::string value() { return digest_.hex().substr(0, 16); }

 private:
  Sha256 digest_;
};

constexpr std::string_view kMarkStart = "\nrefract-xxh3 ";
constexpr std::size_t kMarkBytes = kMarkStart.size() + 16 + 1;

std::string mark_text(std::uint64_t checksum) {
  return fmt::format("{}{}\n", kMarkStart, hex(checksum));
}

std::uint64_t xxh3_of_first(const FileDescriptor& file, std::uint64_t bytes,
                            const std::function<void()>& tick = {}) {
  constexpr std::uint64_t kPiece = 4 << 20;
  Xxh3 hash;
  std::vector<std::byte> piece;
  for (std::uint64_t at = 0; at < bytes; at += piece.size()) {
    piece.resize(std::min(kPiece, bytes - at));
    file.read_at(at, piece);
    hash.add(piece);
    refract::tick();
    if (tick) tick();
  }
  return hash.value();
}

void append_end_mark(const fs::path& part) {
  const FileDescriptor file(part, O_RDWR);
  const std::uint64_t size = file.size();
  file.write_at(size, mark_text(xxh3_of_first(file, size)));
  file.sync_data();
}

// Files of version 1 had no mark: their root attributes are read without a walk through the file.
void expect_end_mark(const fs::path& path, const ArtifactExpectation& expected,
                     const std::function<void()>& tick = {}) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return;  // opening it says why
  const FileDescriptor file(path, O_RDONLY);
  const std::uint64_t size = file.size();
  if (size <= kMarkBytes) throw_damaged(path, fmt::format("it has {} bytes", size));
  std::string mark(kMarkBytes, ' ');
  file.read_at(size - kMarkBytes, std::as_writable_bytes(std::span(mark)));
  if (!mark.starts_with(kMarkStart)) {
    const H5Handle old = h5_open_for_reading(path);
    expect_artifact(header_of(read_attributes(old.id(), path), path),
                    {expected.schema, expected.version, {}}, path);
    throw_damaged(path, "its end mark is not there");
  }
  const std::string found = mark_text(xxh3_of_first(file, size - kMarkBytes, tick));
  if (found != mark)
    throw_damaged(
        path, fmt::format("its bytes have the checksum {}, recorded is {}",
                          found.substr(kMarkStart.size(), 16), mark.substr(kMarkStart.size(), 16)));
}

const fs::path& whole(const fs::path& path, const ArtifactExpectation& expected, FileDigests& seen,
                      const std::function<void()>& tick) {
  seen.expect_whole(path, [&] { expect_end_mark(path, expected, tick); });
  return path;
}

}  // namespace

struct TableWriter::Content {
  fs::path path;
  ArtifactHeader header;
  std::vector<Column> columns;
  Attributes attributes;
  std::vector<std::shared_ptr<const void>> kept;
};

TableWriter::TableWriter(fs::path path, ArtifactHeader header)
    : content_(std::make_unique<Content>(Content{std::move(path), std::move(header), {}, {}, {}})) {
}
TableWriter::~TableWriter() = default;
TableWriter::TableWriter(TableWriter&&) noexcept = default;
TableWriter& TableWriter::operator=(TableWriter&&) noexcept = default;

void TableWriter::keep(std::shared_ptr<const void> values) {
  content_->kept.push_back(std::move(values));
}

void TableWriter::add_bytes(std::string name, DType dtype, std::vector<std::uint64_t> shape,
                            std::span<const std::byte> bytes, std::string axes) {
  std::uint64_t elements = 1;
  for (const std::uint64_t axis : shape) elements *= axis;
  REFRACT_ASSERT(elements * byte_size(dtype) == bytes.size(),
                 "column {} has {} bytes for {} elements of {}", name, bytes.size(), elements,
                 refract::name(dtype));
  content_->columns.push_back({{std::move(name), dtype, std::move(shape), std::move(axes)}, bytes});
}

void TableWriter::add_strings(const std::string& name, std::span<const std::string> values,
                              const std::string& axes) {
  std::vector<std::uint64_t> offsets = {0};
  std::vector<std::uint8_t> bytes;
  for (const std::string& value : values) {
    bytes.insert(bytes.end(), value.begin(), value.end());
    offsets.push_back(bytes.size());
  }
  add(name + "_offsets", std::move(offsets), axes + "+1");
  add(name + "_bytes", std::move(bytes), "bytes");
}

void TableWriter::attribute(const std::string& name, std::string_view text) {
  content_->attributes.insert_or_assign(name, std::string(text));
}
void TableWriter::attribute(const std::string& name, std::uint64_t value) {
  content_->attributes.insert_or_assign(name, value);
}
std::string TableWriter::finish(const ClaimMark& claim) {
  std::vector<Column>& columns = content_->columns;
  std::sort(columns.begin(), columns.end(),
            [](const Column& a, const Column& b) { return a.info.name < b.info.name; });
  ContentDigest digest(content_->header);
  for (const auto& [name, value] : content_->attributes) digest.add(name, value);
  for (const Column& column : columns) digest.add(column.info, column.bytes);
  const std::string content_digest = digest.value();

  if (content_->path.has_parent_path()) make_folder(content_->path.parent_path());
  const fs::path part = part_name(content_->path);
  H5Handle file;
  try {
    file = h5_create_file(part);
    write_header(file.id(), content_->header, part);
    for (const auto& [name, value] : content_->attributes)
      write_attribute(file.id(), name, value, part);
    write_attribute(file.id(), kContentDigest, content_digest, part);
    for (const Column& column : columns) {
      const std::vector<hsize_t> shape(column.info.shape.begin(), column.info.shape.end());
      const H5Handle dataset =
          h5_create_dataset(file.id(), column.info.name, column.info.dtype, shape.data(),
                            static_cast<int>(shape.size()), part);
      write_attribute(dataset.id(), "axes", column.info.axes, part);
      write_dataset_rows(dataset.id(), column.info.dtype, 0, column.info.shape[0], column.bytes,
                         part);
    }
    h5_close_written(file, part);
    append_end_mark(part);
    expect_own(claim);
  } catch (...) {
    h5_leave_open(file);
    remove_all_quietly(part);
    throw;
  }
  rename_durably(part, content_->path);
  return content_digest;
}

struct TableFile::Open {
  fs::path path;
  FileDescriptor file;
  Attributes attributes;
  ArtifactHeader header;
  std::map<std::string, StoredColumn> columns;

  [[nodiscard]] const StoredColumn& stored(const std::string& name) const {
    const auto found = columns.find(name);
    if (found != columns.end()) return found->second;
    std::vector<std::string> names;
    for (const auto& [known, column] : columns) names.push_back(known);
    throw DataError("{} has no dataset {}; it has: {}", path.string(), name,
                    fmt::join(names, ", "));
  }
};

TableFile::TableFile(fs::path path, const ArtifactExpectation& expected, Checks checks) {
  if (checks == Checks::whole_file) expect_end_mark(path, expected);
  const H5Handle file = h5_open_for_reading(path);
  Attributes attributes = read_attributes(file.id(), path);
  ArtifactHeader header = header_of(attributes, path);
  expect_artifact(header, expected, path);
  FileDescriptor descriptor(path, O_RDONLY);
  open_ = std::make_unique<Open>(
      Open{std::move(path), std::move(descriptor), std::move(attributes), std::move(header), {}});
  for (StoredColumn& column : list_datasets(file.id(), open_->path)) {
    std::string name = column.info.name;
    open_->columns.emplace(std::move(name), std::move(column));
  }
}

TableFile::TableFile(fs::path path, const ArtifactExpectation& expected, FileDigests& seen,
                     const std::function<void()>& tick)
    : TableFile(whole(path, expected, seen, tick), expected, Checks::none) {}
TableFile::~TableFile() = default;
TableFile::TableFile(TableFile&&) noexcept = default;
TableFile& TableFile::operator=(TableFile&&) noexcept = default;

const fs::path& TableFile::path() const { return open_->path; }
const ArtifactHeader& TableFile::header() const { return open_->header; }
std::string TableFile::content_digest() const { return text_attribute(kContentDigest); }
bool TableFile::has(const std::string& name) const { return open_->columns.contains(name); }

const ColumnInfo& TableFile::column(const std::string& name) const {
  return open_->stored(name).info;
}

void TableFile::verify_content(const std::function<void()>& tick) const {
  constexpr std::uint64_t kPieceBytes = 8 << 20;
  ContentDigest digest(open_->header);
  for (const auto& [name, value] : open_->attributes)
    if (!is_header_attribute(name)) digest.add(name, value);
  std::vector<std::byte> piece;
  for (const auto& [name, column] : open_->columns) {
    const ColumnInfo& info = column.info;
    const std::uint64_t row_bytes = byte_size(info.dtype) * row_values(name);
    const std::uint64_t rows = info.shape[0];
    const std::uint64_t piece_rows =
        std::max<std::uint64_t>(1, kPieceBytes / std::max<std::uint64_t>(row_bytes, 1));
    Sha256 content;
    for (std::uint64_t first = 0; first < rows; first += piece_rows) {
      const std::uint64_t count = std::min(piece_rows, rows - first);
      piece.resize(count * row_bytes);
      read_bytes(name, info.dtype, first, count, piece);
      content.add(piece);
      refract::tick();
      if (tick) tick();
    }
    digest.add(info, content.hex());
  }
  const std::string found = digest.value();
  if (found != content_digest())
    throw_damaged(open_->path, fmt::format("its content has digest {}, recorded is {}", found,
                                           content_digest()));
}

std::uint64_t TableFile::row_values(const std::string& name) const {
  const std::vector<std::uint64_t>& shape = column(name).shape;
  std::uint64_t values = 1;
  for (std::size_t axis = 1; axis < shape.size(); ++axis) values *= shape[axis];
  return values;
}

void TableFile::read_bytes(const std::string& name, DType wanted, std::uint64_t first,
                           std::uint64_t count, std::span<std::byte> to) const {
  const auto& [info, offset] = open_->stored(name);
  if (info.dtype != wanted)
    throw DataError("{}: dataset {} holds {}, expected {}", open_->path.string(), info.name,
                    refract::name(info.dtype), refract::name(wanted));
  REFRACT_ASSERT(first + count <= info.shape[0], "{}: rows {}+{} of {}", info.name, first, count,
                 info.shape[0]);
  if (!to.empty()) open_->file.read_at(offset + first * (to.size() / count), to);
}

std::string TableFile::read_string(const std::string& name, std::uint64_t row) const {
  const auto ends = read_rows<std::uint64_t>(name + "_offsets", row, 2);
  const std::uint64_t bytes = column(name + "_bytes").shape[0];
  if (ends[0] > ends[1] || ends[1] > bytes)
    throw_damaged(open_->path, fmt::format("offsets of {} do not ascend", name));
  const auto text = read_rows<std::uint8_t>(name + "_bytes", ends[0], ends[1] - ends[0]);
  return {text.begin(), text.end()};
}

std::vector<std::string> TableFile::read_strings(const std::string& name) const {
  const auto offsets = read<std::uint64_t>(name + "_offsets");
  const auto bytes = read<std::uint8_t>(name + "_bytes");
  std::vector<std::string> values;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
    if (offsets[i] > offsets[i + 1] || offsets[i + 1] > bytes.size())
      throw_damaged(open_->path, fmt::format("offsets of {} do not ascend", name));
    values.emplace_back(bytes.begin() + static_cast<std::ptrdiff_t>(offsets[i]),
                        bytes.begin() + static_cast<std::ptrdiff_t>(offsets[i + 1]));
  }
  return values;
}

std::string TableFile::text_attribute(const std::string& name) const {
  return text_of(open_->attributes, name, open_->path);
}
std::uint64_t TableFile::count_attribute(const std::string& name) const {
  return count_of(open_->attributes, name, open_->path);
}

}  // namespace refract
