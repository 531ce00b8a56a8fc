#include "store/chunk_layout.hpp"

#include <fcntl.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "store/hdf5_attributes.hpp"
#include "store/hdf5_datasets.hpp"

namespace refract {

static_assert(std::endian::native == std::endian::little,
              "stored bytes are little endian and never swapped");

namespace {

constexpr std::size_t kAlignmentBytes = 1 << 20;  // bulk data starts on a file-system stripe
constexpr std::size_t kReadPieceBytes = 4 << 20;
const std::string kNoDigest(16, '0');

std::string hook_folder(const std::string& hook) { return "hooks/" + hook; }

// Early allocation only sets the file's length; without this a full disk would show up in
// mid-chunk.
void reserve_space(const fs::path& part) {
  const FileDescriptor file(part, O_RDWR);
  if (::fallocate(file.number(), 0, 0, static_cast<off_t>(file.size())) == 0) return;
  if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
    throw_file_error("reserving space for", part, errno);
}

void write_root_attributes(hid_t file, const ChunkSpec& spec, const fs::path& part) {
  write_header(file, {kChunkSchema, kSchemaVersion, spec.stage, spec.parents, {}}, part);
  write_attribute(file, "chunk", spec.chunk, part);
  write_attribute(file, "permuted", std::uint64_t{spec.permuted}, part);
  write_attribute(file, "rows", spec.rows, part);
  write_attribute(file, "block_rows", spec.block_rows, part);
  write_attribute(file, "dtype", std::string(name(spec.dtype)), part);
  write_attribute(file, "complete", std::uint64_t{0}, part);
  write_attribute(file, kContentDigest, kNoDigest, part);
}

void create_datasets(hid_t file, const ChunkSpec& spec, const fs::path& part) {
  for (const ChunkDataset& dataset : chunk_datasets(spec)) {
    const hsize_t shape[] = {spec.rows, dataset.columns};
    const int rank = dataset.axes == "N,D" ? 2 : 1;
    const H5Handle handle = h5_create_dataset(file, dataset.name, dataset.dtype, shape, rank, part);
    write_attribute(handle.id(), "axes", dataset.axes, part);
  }
  for (std::size_t i = 0; i < spec.hooks.size(); ++i) {
    const std::string folder = hook_folder(spec.hooks[i].name);
    const H5Handle hook(
        h5_check(H5Gopen2(file, folder.c_str(), H5P_DEFAULT), "opening a hook of", part), H5Gclose);
    write_attribute(hook.id(), "index", std::uint64_t{i}, part);
    write_attribute(hook.id(), "d_in", spec.hooks[i].d_in, part);
  }
  const H5Handle blocks = h5_create_dataset(file, "blocks", DType::u64, {spec.blocks()}, part);
  write_attribute(blocks.id(), "axes", std::string("blocks"), part);
}

ChunkSpec spec_of(hid_t file, const Attributes& attributes, const ArtifactHeader& header,
                  const fs::path& path) {
  ChunkSpec spec;
  spec.chunk = count_of(attributes, "chunk", path);
  spec.permuted = count_of(attributes, "permuted", path) != 0;
  spec.rows = count_of(attributes, "rows", path);
  spec.block_rows = count_of(attributes, "block_rows", path);
  spec.dtype = dtype_from_name(text_of(attributes, "dtype", path));
  spec.stage = header.stage;
  spec.parents = header.parents;
  if (spec.block_rows == 0) throw_damaged(path, "attribute \"block_rows\" is 0");
  const H5Handle hooks(h5_check_read(H5Gopen2(file, "hooks", H5P_DEFAULT), "finding /hooks", path),
                       H5Gclose);
  H5G_info_t info;
  h5_check_read(H5Gget_info(hooks.id(), &info), "listing /hooks", path);
  spec.hooks.resize(info.nlinks);
  for (hsize_t i = 0; i < info.nlinks; ++i) {
    const auto length =
        H5Lget_name_by_idx(hooks.id(), ".", H5_INDEX_NAME, H5_ITER_INC, i, nullptr, 0, H5P_DEFAULT);
    std::string name(static_cast<std::size_t>(std::max<decltype(length)>(length, 0)), '\0');
    H5Lget_name_by_idx(hooks.id(), ".", H5_INDEX_NAME, H5_ITER_INC, i, name.data(), name.size() + 1,
                       H5P_DEFAULT);
    const H5Handle hook(
        h5_check_read(H5Gopen2(hooks.id(), name.c_str(), H5P_DEFAULT), "opening a hook", path),
        H5Gclose);
    const Attributes of_hook = read_attributes(hook.id(), path);
    const std::uint64_t index = count_of(of_hook, "index", path);
    if (index >= spec.hooks.size())
      throw_damaged(path, fmt::format("hook {} has index {}", name, index));
    spec.hooks[index] = {name, count_of(of_hook, "d_in", path)};
  }
  return spec;
}

void read_offsets(hid_t file, ChunkLayout& layout, const fs::path& path) {
  for (ChunkDataset& dataset : layout.datasets) {
    const H5Handle handle = h5_open_dataset(file, dataset.name, path);
    const H5Handle type(H5Dget_type(handle.id()), H5Tclose);
    std::vector<std::uint64_t> expected = {layout.spec.rows};
    if (dataset.axes == "N,D") expected.push_back(dataset.columns);
    if (shape_of(handle.id()) != expected || h5_dtype(type.id(), path) != dataset.dtype)
      throw_damaged(path, fmt::format("dataset /{} is not {} [{}]", dataset.name,
                                      name(dataset.dtype), fmt::join(expected, ",")));
    const haddr_t offset = H5Dget_offset(handle.id());
    if (offset == HADDR_UNDEF && layout.spec.rows > 0)
      throw_damaged(path, "dataset /" + dataset.name + " is not contiguous");
    dataset.offset = offset;
  }
}

}  // namespace

std::vector<ChunkDataset> chunk_datasets(const ChunkSpec& spec) {
  std::vector<ChunkDataset> all = {{"context", DType::u64, 1, "N"},
                                   {"position", DType::u32, 1, "N"},
                                   {"token", DType::u32, 1, "N"},
                                   {"document", DType::u64, 1, "N"},
                                   {"document_position", DType::u32, 1, "N"},
                                   {"excluded", DType::u8, 1, "N"}};
  for (const HookColumn& hook : spec.hooks) {
    all.push_back({hook_folder(hook.name) + "/activations", spec.dtype, hook.d_in, "N,D"});
    all.push_back({hook_folder(hook.name) + "/excluded", DType::u8, 1, "N"});
  }
  return all;
}

void create_chunk_file(const fs::path& part, const ChunkSpec& spec) {
  H5Handle file = h5_create_file(part, kAlignmentBytes);
  try {
    write_root_attributes(file.id(), spec, part);
    create_datasets(file.id(), spec, part);
    h5_close_written(file, part);
  } catch (...) {
    h5_leave_open(file);
    throw;
  }
  reserve_space(part);
  sync_path(part);
}

ChunkLayout read_chunk_layout(const fs::path& path, const Parents& expected) {
  const H5Handle file = h5_open_for_reading(path);
  const Attributes attributes = read_attributes(file.id(), path);
  const ArtifactHeader header = header_of(attributes, path);
  expect_artifact(header, {kChunkSchema, kSchemaVersion, expected}, path);
  ChunkLayout layout;
  layout.spec = spec_of(file.id(), attributes, header, path);
  layout.software_version = header.software_version;
  layout.complete = count_of(attributes, "complete", path) == 1;
  layout.content_digest = text_of(attributes, kContentDigest, path);
  layout.datasets = chunk_datasets(layout.spec);
  read_offsets(file.id(), layout, path);
  layout.block_checksums.resize(layout.spec.blocks());
  const H5Handle blocks = h5_open_dataset(file.id(), "blocks", path);
  if (shape_of(blocks.id()) != std::vector<std::uint64_t>{layout.spec.blocks()})
    throw_damaged(path, "dataset /blocks has another length than rows and block_rows say");
  if (!layout.block_checksums.empty())
    h5_check_read(H5Dread(blocks.id(), h5_type(DType::u64).id(), H5S_ALL, H5S_ALL, H5P_DEFAULT,
                          layout.block_checksums.data()),
                  "reading /blocks", path);
  return layout;
}

std::string chunk_digest(const ChunkSpec& spec, std::span<const std::uint64_t> checksums) {
  std::string text = fmt::format("{} {} chunk {} permuted {:d} rows {} block_rows {} {}\n",
                                 kChunkSchema, kSchemaVersion, spec.chunk, spec.permuted, spec.rows,
                                 spec.block_rows, name(spec.dtype));
  for (const auto& [name, digest] : spec.parents)
    text += fmt::format("parent {} {}\n", name, digest);
  for (const HookColumn& hook : spec.hooks)
    text += fmt::format("hook {} {}\n", hook.name, hook.d_in);
  for (const std::uint64_t checksum : checksums) text += hex(checksum) + "\n";
  return short_digest(text);
}

void complete_chunk_file(const fs::path& part, const ChunkSpec& spec,
                         std::span<const std::uint64_t> checksums) {
  const H5Handle access = h5_file_access(kAlignmentBytes);
  H5Handle file(h5_check(H5Fopen(part.c_str(), H5F_ACC_RDWR, access.id()), "opening", part),
                H5Fclose);
  try {
    if (!checksums.empty()) {
      const H5Handle blocks = h5_open_dataset(file.id(), "blocks", part);
      h5_check(H5Dwrite(blocks.id(), h5_type(DType::u64).id(), H5S_ALL, H5S_ALL, H5P_DEFAULT,
                        checksums.data()),
               "writing block checksums of", part);
    }
    write_attribute(file.id(), kContentDigest, chunk_digest(spec, checksums), part);
    write_attribute(file.id(), "complete", std::uint64_t{1}, part);
    h5_close_written(file, part);
  } catch (...) {
    h5_leave_open(file);
    throw;
  }
  sync_path(part);
}

std::uint64_t checksum_of_block(const FileDescriptor& file, const ChunkLayout& layout,
                                std::uint64_t block) {
  const std::uint64_t first = block * layout.spec.block_rows;
  const std::uint64_t rows = layout.spec.rows_of_block(block);
  Xxh3 hash;
  std::vector<std::byte> piece;
  for (const ChunkDataset& dataset : layout.datasets) {
    std::uint64_t offset = dataset.offset + first * dataset.row_bytes();
    for (std::uint64_t left = rows * dataset.row_bytes(); left > 0;) {
      piece.resize(std::min<std::uint64_t>(left, kReadPieceBytes));
      file.read_at(offset, piece);
      hash.add(piece);
      offset += piece.size();
      left -= piece.size();
    }
  }
  return hash.value();
}

}  // namespace refract
