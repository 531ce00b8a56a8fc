#include <algorithm>
#include <atomic>

#include "refract/base/activity.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/store/chunk.hpp"
#include "store/chunk_layout.hpp"

namespace refract {

struct ChunkReader::Open {
  ChunkLayout layout;
  FileDescriptor file;
  // A flag per block: two threads may hash the same block at once, and find the same.
  std::vector<std::atomic<bool>> good;

  void verify_block(std::uint64_t block) {
    if (good[block].load(std::memory_order_relaxed)) return;
    const std::uint64_t found = checksum_of_block(file, layout, block);
    if (found != layout.block_checksums[block])
      throw_damaged(file.path(),
                    fmt::format("block {} of {} has checksum {}, recorded is {}", block,
                                good.size(), hex(found), hex(layout.block_checksums[block])));
    good[block].store(true, std::memory_order_relaxed);
  }
  void verify_rows(std::uint64_t first, std::uint64_t count) {
    if (count == 0) return;
    const std::uint64_t n = layout.spec.block_rows;
    for (std::uint64_t block = first / n; block <= (first + count - 1) / n; ++block)
      verify_block(block);
  }

  void read(std::size_t dataset, std::uint64_t first, std::uint64_t count,
            std::span<std::byte> to) {
    const ChunkDataset& from = layout.datasets[dataset];
    REFRACT_ASSERT(first + count <= layout.spec.rows && to.size() == count * from.row_bytes(),
                   "{} of {}: rows {}+{} of {} into {} bytes", from.name, file.path().string(),
                   first, count, layout.spec.rows, to.size());
    verify_rows(first, count);
    file.read_at(from.offset + first * from.row_bytes(), to);
  }
  template <typename T>
  void read_column(std::size_t dataset, std::uint64_t first, std::vector<T>& to) {
    read(dataset, first, to.size(), std::as_writable_bytes(std::span(to)));
  }
};

ChunkReader::ChunkReader(const fs::path& path, const Parents& expected, Checks checks) {
  ChunkLayout layout = read_chunk_layout(path, expected);
  std::vector<std::atomic<bool>> good(layout.spec.blocks());
  for (std::atomic<bool>& block : good) block = checks == Checks::none;
  open_ = std::make_unique<Open>(
      Open{std::move(layout), FileDescriptor(path, O_RDONLY), std::move(good)});
  if (!open_->layout.complete) throw_damaged(path, "it was never sealed");
  const std::string digest = chunk_digest(open_->layout.spec, open_->layout.block_checksums);
  if (digest != open_->layout.content_digest)
    throw_damaged(path, fmt::format("content digest is {}, its block checksums give {}",
                                    open_->layout.content_digest, digest));
}
ChunkReader::~ChunkReader() = default;
ChunkReader::ChunkReader(ChunkReader&&) noexcept = default;
ChunkReader& ChunkReader::operator=(ChunkReader&&) noexcept = default;

const fs::path& ChunkReader::path() const { return open_->file.path(); }
const ChunkSpec& ChunkReader::spec() const { return open_->layout.spec; }
const std::string& ChunkReader::content_digest() const { return open_->layout.content_digest; }
const std::vector<std::uint64_t>& ChunkReader::block_checksums() const {
  return open_->layout.block_checksums;
}

std::size_t ChunkReader::hook_index(std::string_view hook) const {
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < spec().hooks.size(); ++i) {
    if (spec().hooks[i].name == hook) return i;
    names.push_back(spec().hooks[i].name);
  }
  throw DataError(
      "{} has no hook {}; it has: {}. Name one of these, or extract again with the hook in hooks",
      path().string(), hook, fmt::join(names, ", "));
}

RowIdentity ChunkReader::read_identity(std::uint64_t first, std::uint64_t count) const {
  RowIdentity identity;
  identity.resize(count);
  open_->read_column(0, first, identity.context);
  open_->read_column(1, first, identity.position);
  open_->read_column(2, first, identity.token);
  open_->read_column(3, first, identity.document);
  open_->read_column(4, first, identity.document_position);
  open_->read_column(5, first, identity.excluded);
  return identity;
}

void ChunkReader::read_stored(std::size_t hook, std::uint64_t first, std::uint64_t count,
                              std::span<std::byte> to) const {
  REFRACT_ASSERT(to.size() == count * spec().hooks.at(hook).d_in * byte_size(spec().dtype),
                 "{} bytes for {} rows", to.size(), count);
  open_->read(activations_of(hook), first, count, to);
}

void ChunkReader::read_rows(std::size_t hook, std::uint64_t first, std::uint64_t count,
                            std::span<float> to) const {
  const std::size_t dataset = activations_of(hook);
  REFRACT_ASSERT(to.size() == count * spec().hooks.at(hook).d_in, "{} values for {} rows",
                 to.size(), count);
  if (spec().dtype == DType::f32) {
    open_->read(dataset, first, count, std::as_writable_bytes(to));
    return;
  }
  const auto memory = std::make_unique_for_overwrite<BFloat16[]>(to.size());
  const std::span<BFloat16> stored(memory.get(), to.size());
  open_->read(dataset, first, count, std::as_writable_bytes(stored));
  constexpr std::size_t kValues = 65536;  // of one item
  parallel_for((to.size() + kValues - 1) / kValues, [&](std::size_t item) {
    const std::size_t at = item * kValues, size = std::min(kValues, to.size() - at);
    to_float(stored.subspan(at, size), to.subspan(at, size));
  });
}

void ChunkReader::read_hook_excluded(std::size_t hook, std::uint64_t first, std::uint64_t count,
                                     std::span<std::uint8_t> to) const {
  open_->read(hook_excluded_of(hook), first, count, std::as_writable_bytes(to));
}

std::vector<std::uint8_t> ChunkReader::read_excluded(std::size_t hook, std::uint64_t first,
                                                     std::uint64_t count) const {
  std::vector<std::uint8_t> shared(count), own(count);
  open_->read_column(kIdentityDatasets - 1, first, shared);
  read_hook_excluded(hook, first, count, own);
  for (std::size_t i = 0; i < count; ++i) own[i] = shared[i] != 0 || own[i] != 0;
  return own;
}

std::uint64_t ChunkReader::compute_checksum(std::uint64_t block) const {
  return checksum_of_block(open_->file, open_->layout, block);
}

void ChunkReader::verify_blocks(std::uint64_t first, std::uint64_t count) const {
  for (std::uint64_t block = first; block < first + count; ++block) {
    open_->verify_block(block);
    tick();
  }
}

}  // namespace refract
