#pragma once
// A chunk of activations: the identity of every row once, then one [N, d_in] matrix per hook;
// schema activation-chunk, SPEC 4. Ranks write whole blocks; what is whole survives a kill.
// heldout.h5 is the same with permuted = false.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "refract/base/dtype.hpp"
#include "refract/comm/communicator.hpp"
#include "refract/store/artifact.hpp"

namespace refract {

inline constexpr std::uint32_t kNoDocumentPosition = 0xFFFFFFFFu;  // BOS and padding
inline constexpr std::uint64_t kNoDocument = ~std::uint64_t{0};    // padding
enum ExcludedBits : std::uint8_t {
  kExcludedBos = 1,
  kExcludedPad = 2,
  kExcludedSpecial = 4
};                                                // /excluded
inline constexpr std::uint8_t kExcludedSink = 1;  // /hooks/<hook>/excluded

// Struct of arrays, [n] each.
struct RowIdentity {
  std::vector<std::uint64_t> context;   // shard ordinal << 32 | context
  std::vector<std::uint32_t> position;  // slot in context, BOS counts
  std::vector<std::uint32_t> token;
  std::vector<std::uint64_t> document;           // shard ordinal << 32 | document
  std::vector<std::uint32_t> document_position;  // kNoDocumentPosition for BOS and padding
  std::vector<std::uint8_t> excluded;            // ExcludedBits

  [[nodiscard]] std::size_t size() const { return context.size(); }
  void resize(std::size_t rows);
  void append(const RowIdentity& other, std::size_t row);
  [[nodiscard]] RowIdentity rows(std::size_t first, std::size_t count) const;
  friend bool operator==(const RowIdentity&, const RowIdentity&) = default;
};

struct HookColumn {
  std::string name;  // blocks.3.hook_resid_post
  std::uint64_t d_in = 0;
  friend bool operator==(const HookColumn&, const HookColumn&) = default;
};

// What is known before the first row: with it the file is created at its final size.
struct ChunkSpec {
  std::uint64_t chunk = 0;
  bool permuted = true;
  std::uint64_t rows = 0, block_rows = 0;  // the last block may be shorter
  DType dtype = DType::f32;                // f32 or bf16, as stored
  std::vector<HookColumn> hooks;
  std::string stage = "extract";
  Parents parents;
  [[nodiscard]] std::uint64_t blocks() const { return (rows + block_rows - 1) / block_rows; }
  [[nodiscard]] std::uint64_t rows_of_block(std::uint64_t block) const;
};

[[nodiscard]] std::string chunk_name(std::uint64_t chunk);  // "chunk-000017"
// 17 for "chunk-000017.h5"; nothing for any other name.
[[nodiscard]] std::optional<std::uint64_t> chunk_of_file(std::string_view file);
// Bytes of the sealed file, for the plan (within 2 MiB per dataset).
[[nodiscard]] std::uint64_t estimated_chunk_bytes(const ChunkSpec& spec);

// Block lists of sealed chunks, and what MPI-IO puts beside a file to try locks: left where a kill
// came between. While nobody writes into that folder.
void remove_leftovers_of_kills(const std::filesystem::path& store);

// The rows of one hook in one block.
struct HookRows {
  std::span<const float> activations;      // [n, d_in] f32
  std::span<const std::uint8_t> excluded;  // [n]
};

// xxh3 of a block: the bytes, little endian, of context, position, token, document,
// document_position, excluded of its rows, then for each hook in stored order its activations as
// stored and its excluded.
class ChunkWriter {
 public:
  // Collective. Takes up an unfinished "<path>.part" of the same spec, or makes a new one at full
  // size; one of another spec is removed. `communicator` must outlive the writer.
  [[nodiscard]] static ChunkWriter collective_open(const std::filesystem::path& path,
                                                   const ChunkSpec& spec,
                                                   Communicator& communicator);
  ~ChunkWriter();  // leaves an unfinished part file for the next attempt
  ChunkWriter(ChunkWriter&&) noexcept;
  ChunkWriter& operator=(ChunkWriter&&) noexcept;

  [[nodiscard]] const ChunkSpec& spec() const;
  // Blocks found whole on disk when opened, sorted; the same on every rank. They need not be
  // written again.
  [[nodiscard]] const std::vector<std::uint64_t>& good_blocks() const;
  // Not collective; any rank, any block, in any order. Finished, synced and listed on return; gives
  // its xxh3.
  std::uint64_t write_block(std::uint64_t block, const RowIdentity& identity,
                            std::span<const HookRows> hooks);
  // Collective, after every block was written by some rank: checksums, complete flag, sync, rename,
  // lists removed. Returns the chunk's content digest. The writer is closed.
  std::string collective_seal();
  // Collective: ends without sealing; the part file stays.
  void collective_close();

 private:
  struct Open;
  explicit ChunkWriter(std::unique_ptr<Open> open);
  std::unique_ptr<Open> open_;
};

// A sealed chunk. Rows are read by pread at the dataset's offset, so the read_ methods may be
// called from any thread; opening may not. A block's checksum is verified when any of its rows are
// first read: Damaged names the file and the block.
class ChunkReader {
 public:
  enum class Checks { on_first_read, none };  // none: for who compares the checksums himself
  explicit ChunkReader(const std::filesystem::path& path, const Parents& expected = {},
                       Checks checks = Checks::on_first_read);
  ~ChunkReader();
  ChunkReader(ChunkReader&&) noexcept;
  ChunkReader& operator=(ChunkReader&&) noexcept;

  [[nodiscard]] const std::filesystem::path& path() const;
  [[nodiscard]] const ChunkSpec& spec() const;  // rows, block_rows, hooks, permuted, parents
  [[nodiscard]] std::uint64_t rows() const { return spec().rows; }
  [[nodiscard]] std::uint64_t blocks() const { return spec().blocks(); }
  [[nodiscard]] const std::string& content_digest() const;
  [[nodiscard]] std::size_t hook_index(
      std::string_view name) const;  // DataError lists the hooks there are

  [[nodiscard]] RowIdentity read_identity() const { return read_identity(0, rows()); }
  [[nodiscard]] RowIdentity read_identity(std::uint64_t first, std::uint64_t count) const;
  // to [count, d_in] of spec().dtype, as stored.
  void read_stored(std::size_t hook, std::uint64_t first, std::uint64_t count,
                   std::span<std::byte> to) const;
  // to [count, d_in] f32, widened from what is stored.
  void read_rows(std::size_t hook, std::uint64_t first, std::uint64_t count,
                 std::span<float> to) const;
  // to [count]: the hook's own flag (sink).
  void read_hook_excluded(std::size_t hook, std::uint64_t first, std::uint64_t count,
                          std::span<std::uint8_t> to) const;
  // 1 where the row takes part in nothing for this hook: BOS, padding, special token or sink.
  [[nodiscard]] std::vector<std::uint8_t> read_excluded(std::size_t hook, std::uint64_t first,
                                                        std::uint64_t count) const;

  [[nodiscard]] const std::vector<std::uint64_t>& block_checksums() const;
  [[nodiscard]] std::uint64_t compute_checksum(std::uint64_t block) const;
  // Damaged names the first bad block of [first, first + count); blocks found good are not hashed
  // again.
  void verify_blocks(std::uint64_t first, std::uint64_t count) const;
  void verify_blocks() const { verify_blocks(0, blocks()); }

 private:
  struct Open;
  std::unique_ptr<Open> open_;
};

}  // namespace refract
