#include "refract/store/chunk.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "unit/store/chunk_fixture.hpp"
#include "unit/store/full_disk.hpp"
#include "unit/store/scratch_folder.hpp"

namespace refract {
namespace {

using test::block_of;
using test::data_error;
using test::expect_contains;
using test::ScratchFolder;
using test::small_spec;
using test::value_at;
using test::write_chunk;
using test::write_one;

void append_text(const fs::path& path, std::string_view text) {
  std::ofstream(path, std::ios::app | std::ios::binary) << text;
}

// Where a run of bytes lies in the file; every test value is unique enough to be found.
template <typename T>
std::uint64_t offset_of(const fs::path& path, const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  const std::size_t offset =
      read_file(path).find({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  EXPECT_NE(offset, std::string::npos);
  return offset;
}

class ChunkOfEachDType : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Chunk, ChunkOfEachDType, ::testing::Values(DType::f32, DType::bf16),
                         [](const auto& of) { return std::string(name(of.param)); });

TEST_P(ChunkOfEachDType, gives_back_every_row) {
  const ScratchFolder folder;
  Communicator alone = Communicator::loopback();
  const fs::path path = write_chunk(folder.path(), 17, alone, GetParam());

  const ChunkReader chunk(path, small_spec().parents);

  ASSERT_EQ(chunk.rows(), 22u);
  EXPECT_EQ(chunk.spec().chunk, 17u);
  EXPECT_TRUE(chunk.spec().permuted);
  EXPECT_EQ(chunk.spec().hooks, small_spec().hooks) << "in the order given, not the alphabet's";
  for (std::uint64_t block = 0; block < chunk.blocks(); ++block)
    EXPECT_EQ(chunk.read_identity(block * 5, chunk.spec().rows_of_block(block)),
              block_of(chunk.spec(), block).identity);
  for (std::size_t hook = 0; hook < 2; ++hook) {
    const std::uint64_t d_in = chunk.spec().hooks[hook].d_in;
    std::vector<float> rows(20 * d_in);
    chunk.read_rows(hook, 1, 20, rows);
    for (std::uint64_t i = 0; i < rows.size(); ++i)
      EXPECT_EQ(rows[i], value_at(hook, 1 + i / d_in, i % d_in))
          << "hook " << hook << " value " << i;
  }
  EXPECT_NO_THROW(chunk.verify_blocks());
}

TEST_P(ChunkOfEachDType, has_the_same_bytes_when_written_twice) {
  const ScratchFolder folder;
  Communicator alone = Communicator::loopback();
  const fs::path first = write_chunk(folder / "a", 17, alone, GetParam());
  const fs::path second = write_chunk(folder / "b", 17, alone, GetParam());

  EXPECT_EQ(read_file(first), read_file(second));
}

TEST(Chunk, excludes_a_row_for_one_hook_or_for_all) {
  const ScratchFolder folder;
  Communicator alone = Communicator::loopback();
  const ChunkReader chunk(write_chunk(folder.path(), 17, alone));

  const std::vector<std::uint8_t> of_first = chunk.read_excluded(0, 0, 8);
  const std::vector<std::uint8_t> of_second = chunk.read_excluded(1, 0, 8);

  EXPECT_EQ(of_first, (std::vector<std::uint8_t>{1, 0, 0, 0, 0, 0, 0, 1}));  // BOS in rows 0 and 7
  EXPECT_EQ(of_second,
            (std::vector<std::uint8_t>{1, 1, 0, 0, 0, 0, 1, 1}));  // and sinks in rows 1 and 6
}

TEST(Chunk, starts_bulk_data_on_a_mebibyte) {
  const ScratchFolder folder;
  Communicator alone = Communicator::loopback();
  ChunkSpec spec = small_spec();
  spec.hooks = {{"blocks.0.hook_resid_post", 4096}};
  ChunkWriter writer = ChunkWriter::collective_open(folder / "c.h5", spec, alone);
  for (std::uint64_t block = 0; block < spec.blocks(); ++block) write_one(writer, block);
  writer.collective_seal();

  EXPECT_EQ(offset_of(folder / "c.h5", block_of(spec, 0).activations[0]) % (1 << 20), 0u);
  EXPECT_LE(fs::file_size(folder / "c.h5"), estimated_chunk_bytes(spec));
}

TEST(Chunk, finds_a_flipped_byte_in_any_kind_of_data) {
  const ScratchFolder folder;
  Communicator alone = Communicator::loopback();
  const fs::path path = write_chunk(folder.path(), 17, alone);
  const auto third = block_of(small_spec(), 2);

  for (const std::uint64_t offset :
       {offset_of(path, third.activations[0]), offset_of(path, third.activations[1]),
        offset_of(path, third.identity.token), offset_of(path, third.identity.document)}) {
    test::flip_byte(path, offset);
    const ChunkReader chunk(path);
    expect_contains(data_error([&] { chunk.verify_blocks(); }), "block 2 of 5");
    EXPECT_NO_THROW(chunk.verify_blocks(0, 2)) << "offset " << offset;
    EXPECT_NO_THROW(chunk.verify_blocks(3, 2)) << "offset " << offset;
    test::flip_byte(path, offset);
  }
  EXPECT_NO_THROW(ChunkReader(path).verify_blocks());
}

TEST(Chunk, verifies_a_block_when_its_rows_are_first_read) {
  const ScratchFolder folder;
  Communicator alone = Communicator::loopback();
  const fs::path path = write_chunk(folder.path(), 17, alone);
  test::flip_byte(path, offset_of(path, block_of(small_spec(), 2).activations[1]));
  const ChunkReader chunk(path);
  const std::uint64_t n = small_spec().block_rows;
  std::vector<float> rows(n * small_spec().hooks[0].d_in);

  EXPECT_NO_THROW(chunk.read_rows(0, n, n, rows));  // of block 1
  try {
    chunk.read_rows(0, 2 * n, n, rows);
    FAIL() << "a damaged block was read";
  } catch (const Damaged& error) {
    expect_contains(error.what(), "block 2 of 5");
  }
  EXPECT_THROW((void)chunk.read_identity(n, n + 1), Damaged) << "its first row is of block 2";
  EXPECT_NO_THROW(ChunkReader(path, {}, ChunkReader::Checks::none).read_rows(0, 2 * n, n, rows));
}

TEST(Chunk, refuses_changed_block_checksums) {
  const ScratchFolder folder;
  Communicator alone = Communicator::loopback();
  const fs::path path = write_chunk(folder.path(), 17, alone);
  const std::uint64_t offset = offset_of(path, ChunkReader(path).block_checksums());

  test::flip_byte(path, offset);

  expect_contains(data_error([&] { ChunkReader reader(path); }), "content digest");
}

TEST(Chunk, is_refused_when_cut_short) {
  const ScratchFolder folder;
  Communicator alone = Communicator::loopback();
  const fs::path path = write_chunk(folder.path(), 17, alone);

  fs::resize_file(path, fs::file_size(path) - 1);

  expect_contains(data_error([&] { ChunkReader reader(path); }), "is damaged");
}

TEST(Chunk, is_refused_by_a_reader_of_another_store) {
  const ScratchFolder folder;
  Communicator alone = Communicator::loopback();
  const fs::path path = write_chunk(folder.path(), 17, alone);

  expect_contains(data_error([&] {
                    ChunkReader(path, {{"store", "ffff"}});
                  }),
                  "parent store is 0123456789abcdef");
  const std::string refusal =
      data_error([&] { (void)ChunkReader(path).hook_index("blocks.9.hook_mlp_out"); });
  expect_contains(refusal, "it has: blocks.4.hook_resid_post");
  expect_contains(refusal, "extract again with the hook in hooks");
}

TEST(Chunk, is_not_there_before_it_is_sealed) {
  const ScratchFolder folder;
  Communicator alone = Communicator::loopback();
  ChunkWriter writer =
      ChunkWriter::collective_open(folder / "chunk-000017.h5", small_spec(), alone);
  write_one(writer, 0);
  writer.collective_close();

  EXPECT_FALSE(fs::exists(folder / "chunk-000017.h5"));
  fs::rename(folder / "chunk-000017.h5.part", folder / "chunk-000017.h5");
  expect_contains(data_error([&] { ChunkReader(folder / "chunk-000017.h5"); }), "never sealed");
}

TEST(ChunkResume, goes_on_from_the_whole_blocks_and_ends_with_the_same_bytes) {
  const ScratchFolder folder;
  Communicator alone = Communicator::loopback();
  const fs::path whole = write_chunk(folder / "whole", 17, alone);
  const fs::path path = folder / "cut/chunk-000017.h5";
  {
    ChunkWriter writer = ChunkWriter::collective_open(path, small_spec(), alone);
    for (const std::uint64_t block : {3, 1, 4}) write_one(writer, block);
    // Destroyed without a word, as by a kill; and the kill tore the list's last line.
  }
  append_text(folder / "cut/chunk-000017.blocks.0", "2 0123");

  ChunkWriter writer = ChunkWriter::collective_open(path, small_spec(), alone);
  const std::vector<std::uint64_t> good = writer.good_blocks();
  write_one(writer, 0);
  write_one(writer, 2);
  writer.collective_seal();

  EXPECT_EQ(good, (std::vector<std::uint64_t>{1, 3, 4}));
  EXPECT_EQ(read_file(path), read_file(whole));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "cut"), fs::directory_iterator{}), 1)
      << "lists remain";
}

TEST(ChunkResume, merges_the_lists_of_another_rank_count_and_drops_what_does_not_match) {
  const ScratchFolder folder;
  Communicator alone = Communicator::loopback();
  const fs::path path = folder / "chunk-000017.h5";
  {
    ChunkWriter writer = ChunkWriter::collective_open(path, small_spec(), alone);
    for (const std::uint64_t block : {0, 1, 2}) write_one(writer, block);
  }
  const std::string list = read_file(folder / "chunk-000017.blocks.0");
  const std::size_t second_line = list.find('\n') + 1;
  write_file(folder / "chunk-000017.blocks.0", list.substr(0, second_line));
  write_file(folder / "chunk-000017.blocks.3",
             list.substr(second_line) + "4 00000000000000aa\n9 0000000000000001\nnonsense\n");
  test::flip_byte(
      folder / "chunk-000017.h5.part",
      offset_of(folder / "chunk-000017.h5.part", block_of(small_spec(), 1).activations[0]));

  ChunkWriter writer = ChunkWriter::collective_open(path, small_spec(), alone);

  EXPECT_EQ(writer.good_blocks(), (std::vector<std::uint64_t>{0, 2}));
}

TEST(ChunkResume, begins_anew_when_the_part_file_is_of_another_spec_or_damaged) {
  const ScratchFolder folder;
  Communicator alone = Communicator::loopback();
  const fs::path path = folder / "chunk-000017.h5";
  const auto leave_two_blocks = [&] {
    ChunkWriter writer = ChunkWriter::collective_open(path, small_spec(), alone);
    write_one(writer, 0);
    write_one(writer, 1);
  };
  leave_two_blocks();
  ChunkSpec other = small_spec();
  other.parents["store"] = "another";

  EXPECT_TRUE(ChunkWriter::collective_open(path, other, alone).good_blocks().empty());

  leave_two_blocks();
  fs::resize_file(folder / "chunk-000017.h5.part", 100);
  EXPECT_TRUE(ChunkWriter::collective_open(path, small_spec(), alone).good_blocks().empty());
}

TEST(ChunkWriter, says_so_and_leaves_nothing_when_the_disk_has_no_room) {
  const ScratchFolder folder;
  Communicator alone = Communicator::loopback();
  ChunkSpec spec = small_spec();
  spec.hooks[0].d_in = 1 << 20;

  // While the file is made, and at its very start.
  for (const std::uint64_t bytes : {1 << 20, 64}) {
    const std::string text = test::error_on_full_disk(
        bytes, [&] { (void)ChunkWriter::collective_open(folder / "c.h5", spec, alone); });

    test::expect_contains(text, (folder / "c.h5.part").string());
    test::expect_contains(text, "ulimit -f");
  }
  EXPECT_EQ(folder.files(), 0u);
}

}  // namespace
}  // namespace refract
