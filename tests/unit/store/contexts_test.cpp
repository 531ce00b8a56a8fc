#include "refract/store/contexts.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "refract/store/table_file.hpp"
#include "unit/store/scratch_folder.hpp"

namespace refract {
namespace {

using test::data_error;
using test::expect_contains;
using test::ScratchFolder;

ContextTableData table() {
  ContextTableData data;
  data.format = {.length = 8, .packing = "packed", .bos = "document_start", .bos_id = 50256};
  data.segments = {{0, 0, 0, 8, 1}, {0, 0, 7, 3, 0}, {3, 1, 0, 5, 1}, {0, 2, 0, 4, 1}};
  data.segment_starts = {0, 1, 3, 4};
  data.heldout = {0, 0, 1};
  return data;
}

TEST(ContextTable, gives_back_the_segments_of_each_context) {
  const ScratchFolder folder;
  const std::string digest = write_contexts(folder / "c.h5", table(), {{"tokens", "t"}});

  const ContextTable read(folder / "c.h5", {{"tokens", "t"}});

  EXPECT_EQ(read.content_digest(), digest);
  EXPECT_EQ(read.contexts(), 3u);
  EXPECT_EQ(read.training_contexts(), 2u);
  EXPECT_EQ(read.format().length, 8u);
  EXPECT_EQ(read.format().packing, "packed");
  EXPECT_EQ(read.format().bos, "document_start");
  EXPECT_EQ(read.format().bos_id, 50256u);
  EXPECT_EQ(read.read(0, 3).segments, table().segments);
  EXPECT_EQ(read.read(0, 3).heldout, table().heldout);
}

TEST(ContextTable, gives_back_a_slice_counted_from_its_own_beginning) {
  const ScratchFolder folder;
  write_contexts(folder / "c.h5", table(), {});
  const ContextTable file(folder / "c.h5");

  for (std::uint64_t first = 0; first <= 3; ++first)
    for (std::uint64_t count = 0; first + count <= 3; ++count) {
      const ContextTableData slice = file.read(first, count);
      ASSERT_EQ(slice.contexts(), count);
      for (std::uint64_t c = 0; c < count; ++c) {
        const auto expected = table();
        EXPECT_TRUE(std::ranges::equal(slice.of_context(c), expected.of_context(first + c)));
      }
    }
}

TEST(ContextTable, counts_training_contexts_wherever_the_held_out_ones_begin) {
  const ScratchFolder folder;
  for (std::size_t training = 0; training <= 5; ++training) {
    ContextTableData data;
    data.format = table().format;
    for (std::size_t c = 0; c < 5; ++c) {
      data.segments.push_back({0, static_cast<std::uint32_t>(c), 0, 8, 1});
      data.segment_starts.push_back(c + 1);
      data.heldout.push_back(c < training ? 0 : 1);
    }
    write_contexts(folder / "c.h5", data, {});

    EXPECT_EQ(ContextTable(folder / "c.h5").training_contexts(), training);
  }
}

TEST(ContextTableDeathTest, is_never_written_when_its_parts_do_not_fit_together) {
  const ScratchFolder folder;
  ContextTableData data = table();
  data.segment_starts[1] = 4;

  EXPECT_DEATH((void)write_contexts(folder / "c.h5", data, {}), "segment_starts");
  EXPECT_EQ(folder.files(), 0u);
}

TEST(ContextTable, is_never_read_with_a_flipped_byte) {
  const ScratchFolder folder;
  write_contexts(folder / "c.h5", table(), {{"tokens", "t"}});

  const std::string missed = test::flips_not_found(folder / "c.h5", 1, [&] {
    const ContextTable file(folder / "c.h5", {}, TableFile::Checks::whole_file);
    const ContextTableData data = file.read(0, file.contexts());
    return std::tuple(data.segments, data.segment_starts, data.heldout, data.format.length,
                      data.format.packing, data.format.bos, data.format.bos_id);
  });

  EXPECT_EQ(missed, "");
}

TEST(ContextTable, refuses_another_token_shard) {
  const ScratchFolder folder;
  write_contexts(folder / "c.h5", table(), {{"tokens", "t"}});

  expect_contains(data_error([&] {
                    ContextTable(folder / "c.h5", {{"tokens", "u"}});
                  }),
                  "parent tokens is t");
}

}  // namespace
}  // namespace refract
