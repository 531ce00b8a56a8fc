// A column of more bytes and elements than an int can count.
#include <gtest/gtest.h>

#include "refract/store/table_file.hpp"
#include "support/memory.hpp"
#include "unit/store/scratch_folder.hpp"

namespace refract {
namespace {

using test::byte_at;

TEST(LargeTable, gives_back_a_column_of_more_than_two_to_the_31_elements) {
  constexpr std::uint64_t kMore = (std::uint64_t{1} << 31) + 12'345;
  constexpr std::uint64_t kNeeded_bytes = std::uint64_t{5} << 30;  // memory; of disk, half as much
  const test::ScratchFolder folder;
  if (test::available_memory_bytes() < kNeeded_bytes ||
      test::available_disk_bytes(folder.path()) < kNeeded_bytes / 2)
    GTEST_SKIP() << "needs " << (kNeeded_bytes >> 30) << " GiB of memory and half as much of disk";
  const ArtifactHeader header{"features", 1, "probe", {}, {}};
  {
    std::vector<std::uint8_t> bytes(kMore);
    for (std::uint64_t i = 0; i < kMore; ++i) bytes[i] = byte_at(i);
    TableWriter table(folder / "large.h5", header);
    table.add("bytes", bytes, "bytes");
    (void)table.finish();
  }

  const TableFile table(folder / "large.h5", {"features", 1, {}});
  const auto found = table.read<std::uint8_t>("bytes");
  const auto end = table.read_rows<std::uint8_t>("bytes", kMore - 7, 7);

  ASSERT_EQ(found.size(), kMore);
  std::uint64_t wrong = 0;
  for (std::uint64_t i = 0; i < kMore; ++i) wrong += found[i] != byte_at(i) ? 1 : 0;
  EXPECT_EQ(wrong, 0u);
  for (std::uint64_t i = 0; i < 7; ++i) EXPECT_EQ(end[i], byte_at(kMore - 7 + i));
  table.verify_content();
}

}  // namespace
}  // namespace refract
