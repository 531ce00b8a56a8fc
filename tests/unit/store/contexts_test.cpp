#include "refract/store/contexts.hpp"

#include <gtest/gtest.h>

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
  data.context_length = 8;
  data.packing = "packed";
  data.bos = "document_start";
  data.bos_id = 50256;
  data.segments = {{0, 0, 0, 8, 1}, {0, 0, 7, 3, 0}, {3, 1, 0, 5, 1}, {0, 2, 0, 4, 1}};
  data.segment_starts = {0, 1, 3, 4};
  data.heldout = {0, 0, 1};
  return data;
}

TEST(ContextTable, gives_back_the_segments_of_each_context) {
  const ScratchFolder folder;
  const std::string digest = write_contexts(folder / "c.h5", table(), {{"tokens", "t"}});

  const ContextTable read = read_contexts(folder / "c.h5", {{"tokens", "t"}});

  EXPECT_EQ(read.content_digest, digest);
  EXPECT_EQ(read.data.segments, table().segments);
  EXPECT_EQ(read.data.heldout, table().heldout);
  EXPECT_EQ(read.data.packing, "packed");
  EXPECT_EQ(read.data.bos, "document_start");
  EXPECT_EQ(read.data.bos_id, 50256u);
  ASSERT_EQ(read.data.of_context(1).size(), 2u);
  EXPECT_EQ(read.data.of_context(1)[1].document, 1u);
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
    const ContextTableData data = read_contexts(folder / "c.h5").data;
    return std::tuple(data.segments, data.segment_starts, data.heldout, data.context_length,
                      data.packing, data.bos, data.bos_id);
  });

  EXPECT_EQ(missed, "");
}

TEST(ContextTable, refuses_another_token_shard) {
  const ScratchFolder folder;
  write_contexts(folder / "c.h5", table(), {{"tokens", "t"}});

  expect_contains(data_error([&] {
                    (void)read_contexts(folder / "c.h5", {{"tokens", "u"}});
                  }),
                  "parent tokens is t");
}

}  // namespace
}  // namespace refract
