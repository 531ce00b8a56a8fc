// Open: rank 0 makes or takes up the part file with the serial driver, so its metadata is the same
// for any rank count; then every rank opens it (through MPI-IO where there are several) and
// re-hashes its share of the listed blocks. Write: independent transfers of whole rows, then sync,
// then one line in the rank's own list, so a listed block is on disk. Seal: all close and sync;
// rank 0 adds checksums and renames.
#include <algorithm>
#include <exception>
#include <map>
#include <optional>

#include "refract/base/build_info.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/store/chunk.hpp"
#include "store/block_list.hpp"
#include "store/chunk_layout.hpp"
#include "store/hdf5_datasets.hpp"

namespace refract {
namespace {

bool same_spec(const ChunkSpec& a, const ChunkSpec& b) {
  return a.chunk == b.chunk && a.permuted == b.permuted && a.rows == b.rows &&
         a.block_rows == b.block_rows && a.dtype == b.dtype && a.hooks == b.hooks &&
         a.stage == b.stage && a.parents == b.parents;
}

void expect_possible(const ChunkSpec& spec, const fs::path& path) {
  REFRACT_ASSERT(spec.dtype == DType::f32 || spec.dtype == DType::bf16, "dtype {}",
                 name(spec.dtype));
  REFRACT_ASSERT(spec.block_rows > 0 && !spec.hooks.empty(), "{}: block_rows {}, hooks {}",
                 path.string(), spec.block_rows, spec.hooks.size());
  for (const HookColumn& hook : spec.hooks)
    REFRACT_ASSERT(hook.d_in > 0 && hook.name.find('/') == std::string::npos, "hook {} of width {}",
                   hook.name, hook.d_in);
}

// A part file that cannot be read, or is of another spec or version, is worth nothing.
bool can_be_taken_up(const fs::path& part, const ChunkSpec& spec) {
  if (!fs::exists(part)) return false;
  try {
    const ChunkLayout layout = read_chunk_layout(part, {});
    return same_spec(layout.spec, spec) && layout.software_version == kVersion;
  } catch (const DataError&) {
    return false;
  }
}

void prepare_part_file(const fs::path& path, const ChunkSpec& spec) {
  if (path.has_parent_path()) make_folder(path.parent_path());
  const fs::path part = part_name(path);
  if (can_be_taken_up(part, spec)) return;
  remove_all_quietly(part);
  remove_block_lists(path);
  try {
    create_chunk_file(part, spec);
  } catch (...) {
    remove_all_quietly(part);
    throw;
  }
}

// Re-hashes the listed blocks, each rank its share; every rank gets the whole result.
std::vector<BlockRecord> collective_find_good_blocks(const fs::path& path,
                                                     const ChunkLayout& layout,
                                                     Communicator& communicator) {
  const std::multimap<std::uint64_t, std::uint64_t> listed = read_block_lists(path);
  const FileDescriptor file(part_name(path), O_RDONLY);
  std::vector<BlockRecord> mine;
  std::uint64_t index = 0;
  for (auto block = listed.begin(); block != listed.end();
       block = listed.upper_bound(block->first)) {
    if (block->first >= layout.spec.blocks()) continue;
    if (index++ % static_cast<std::uint64_t>(communicator.size()) !=
        static_cast<std::uint64_t>(communicator.rank()))
      continue;
    const std::uint64_t found = checksum_of_block(file, layout, block->first);
    const auto [begin, end] = listed.equal_range(block->first);
    if (std::any_of(begin, end, [&](const auto& record) { return record.second == found; }))
      mine.push_back({block->first, found});
  }
  std::vector<BlockRecord> all = communicator.all_gather(std::span<const BlockRecord>(mine));
  std::sort(all.begin(), all.end(),
            [](const BlockRecord& a, const BlockRecord& b) { return a.block < b.block; });
  return all;
}

H5Handle parallel_access(const Communicator& communicator) {
  H5Handle access = h5_file_access();
  const void* native = communicator.native_mpi();
  if (communicator.size() > 1 && native) {
    H5Pset_fapl_mpio(access.id(), *static_cast<const MPI_Comm*>(native), MPI_INFO_NULL);
    H5Pset_all_coll_metadata_ops(access.id(), true);
    H5Pset_coll_metadata_write(access.id(), true);
  }
  return access;
}

}  // namespace

struct ChunkWriter::Open {
  fs::path path;
  ChunkSpec spec;
  Communicator* communicator = nullptr;
  ChunkLayout layout;
  std::vector<BlockRecord> known;  // found good when opened, the same on every rank
  std::vector<BlockRecord> mine;   // written by this rank
  std::vector<std::uint64_t> good_blocks;
  H5Handle file;
  std::vector<H5Handle> datasets;  // in the layout's order
  FileDescriptor descriptor;
  std::optional<AppendLog> list;
  std::vector<BFloat16> narrow;  // a block's activations as bf16

  // Not collective, so that a rank may fail alone: with several ranks the handles are given up
  // instead of closed, since closing would wait for ranks that never come. An error on its way is
  // the line to say; without one, somebody forgot to close.
  ~Open() {
    if (communicator == nullptr || communicator->size() == 1 || !file.valid()) return;
    leave_open();
    if (std::uncaught_exceptions() > 0) return;
    fmt::print(stderr, "refract[{}]: {} was left without collective_close\n", communicator->rank(),
               path.string());
  }

  void leave_open() {
    for (H5Handle& dataset : datasets) h5_leave_open(dataset);
    h5_leave_open(file);
  }

  void collective_open_file() {
    const fs::path part = part_name(path);
    const H5Handle access = parallel_access(*communicator);
    file = {h5_check(H5Fopen(part.c_str(), H5F_ACC_RDWR, access.id()), "opening", part), H5Fclose};
    for (const ChunkDataset& dataset : layout.datasets)
      datasets.push_back(h5_open_dataset(file.id(), dataset.name, part));
    descriptor = FileDescriptor(part, O_RDWR);
  }

  void collective_close_file() {
    datasets.clear();
    h5_close_written(file, part_name(path));
    descriptor.sync_data();
    list.reset();
    communicator->barrier();
  }

  // Rows [first, first + rows) of one dataset.
  void write_rows(std::size_t index, std::uint64_t first, std::uint64_t rows,
                  std::span<const std::byte> bytes) {
    try {
      write_dataset_rows(datasets[index].id(), layout.datasets[index].dtype, first, rows, bytes,
                         part_name(path));
    } catch (...) {
      leave_open();
      throw;
    }
  }

  std::span<const std::byte> as_stored(std::span<const float> activations) {
    if (spec.dtype == DType::f32) return std::as_bytes(activations);
    narrow.resize(activations.size());
    to_bf16(activations, narrow);
    return std::as_bytes(std::span<const BFloat16>(narrow));
  }
};

ChunkWriter::ChunkWriter(std::unique_ptr<Open> open) : open_(std::move(open)) {}
ChunkWriter::~ChunkWriter() = default;
ChunkWriter::ChunkWriter(ChunkWriter&&) noexcept = default;
ChunkWriter& ChunkWriter::operator=(ChunkWriter&&) noexcept = default;

ChunkWriter ChunkWriter::collective_open(const fs::path& path, const ChunkSpec& spec,
                                         Communicator& communicator) {
  expect_possible(spec, path);
  if (communicator.rank() == 0) prepare_part_file(path, spec);
  communicator.barrier();
  auto open = std::make_unique<Open>();
  open->path = path;
  open->spec = spec;
  open->communicator = &communicator;
  open->layout = read_chunk_layout(part_name(path), spec.parents);
  open->known = collective_find_good_blocks(path, open->layout, communicator);
  for (const BlockRecord& record : open->known) open->good_blocks.push_back(record.block);
  open->collective_open_file();
  open->list.emplace(block_list_path(path, communicator.rank()));
  return ChunkWriter(std::move(open));
}

const ChunkSpec& ChunkWriter::spec() const { return open_->spec; }
const std::vector<std::uint64_t>& ChunkWriter::good_blocks() const { return open_->good_blocks; }

std::uint64_t ChunkWriter::write_block(std::uint64_t block, const RowIdentity& identity,
                                       std::span<const HookRows> hooks) {
  Open& open = *open_;
  const std::uint64_t rows = open.spec.rows_of_block(block);
  REFRACT_ASSERT(identity.size() == rows && hooks.size() == open.spec.hooks.size(),
                 "block {}: {} rows of {}, {} hooks", block, identity.size(), rows, hooks.size());
  Xxh3 hash;
  std::size_t index = 0;
  const auto put = [&](std::span<const std::byte> bytes) {
    REFRACT_ASSERT(bytes.size() == rows * open.layout.datasets[index].row_bytes(),
                   "dataset {} of block {}: {} bytes", open.layout.datasets[index].name, block,
                   bytes.size());
    hash.add(bytes);
    open.write_rows(index++, block * open.spec.block_rows, rows, bytes);
  };
  put(std::as_bytes(std::span(identity.context)));
  put(std::as_bytes(std::span(identity.position)));
  put(std::as_bytes(std::span(identity.token)));
  put(std::as_bytes(std::span(identity.document)));
  put(std::as_bytes(std::span(identity.document_position)));
  put(std::as_bytes(std::span(identity.excluded)));
  for (const HookRows& hook : hooks) {
    put(open.as_stored(hook.activations));
    put(std::as_bytes(hook.excluded));
  }
  open.descriptor.sync_data();
  const BlockRecord record{block, hash.value()};
  open.list->append(block_line(record));
  open.mine.push_back(record);
  return record.checksum;
}

std::string ChunkWriter::collective_seal() {
  Open& open = *open_;
  std::vector<BlockRecord> written =
      open.communicator->all_gather(std::span<const BlockRecord>(open.mine));
  std::vector<std::optional<std::uint64_t>> found(open.spec.blocks());
  for (const BlockRecord& record : open.known) found[record.block] = record.checksum;
  for (const BlockRecord& record : written) found[record.block] = record.checksum;
  std::vector<std::uint64_t> checksums;
  for (const auto& checksum : found) {
    REFRACT_ASSERT(checksum.has_value(), "{}: block {} of {} was never written", open.path.string(),
                   checksums.size(), found.size());
    checksums.push_back(*checksum);
  }
  open.collective_close_file();
  if (open.communicator->rank() == 0) {
    complete_chunk_file(part_name(open.path), open.spec, checksums);
    rename_durably(part_name(open.path), open.path);
    remove_block_lists(open.path);
  }
  open.communicator->barrier();
  return chunk_digest(open.spec, checksums);
}

void ChunkWriter::collective_close() { open_->collective_close_file(); }

}  // namespace refract
