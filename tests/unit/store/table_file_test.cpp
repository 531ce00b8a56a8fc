#include "refract/store/table_file.hpp"

#include <gtest/gtest.h>

#include "unit/store/full_disk.hpp"
#include "unit/store/scratch_folder.hpp"

namespace refract {
namespace {

using test::data_error;
using test::expect_contains;
using test::ScratchFolder;

const ArtifactHeader kHeader{"features", 1, "probe", {{"sae", "aaaa"}, {"store", "bbbb"}}, {}};
const ArtifactExpectation kExpected{"features", 1, {{"sae", "aaaa"}}};

std::string write(const fs::path& path, float last = 3.5f) {
  const std::vector<float> mean = {1.0f, -2.0f, last};
  const std::vector<double> matrix = {1, 2, 3, 4, 5, 6};
  const std::vector<std::string> labels = {"chemistry", "", "Z\xC3\xBCrich"};
  TableWriter table(path, kHeader);
  table.attribute("sae", "small");
  table.attribute("empty", "");
  table.attribute("d_sae", std::uint64_t{3});
  table.add("stats/mean", mean, "F");
  table.add("stats/count", std::vector<std::uint64_t>{7, 8, 9}, "F");
  table.add("signed", std::vector<std::int64_t>{-1, 0, 1}, "F");
  table.add("none", std::vector<std::uint32_t>{}, "rows");
  table.add_matrix("pairs", std::span<const double>(matrix), 3, 2, "F,2");
  table.add_strings("label", labels, "F");
  return table.finish();
}

TEST(TableFile, gives_back_what_was_written) {
  const ScratchFolder folder;
  const std::string digest = write(folder / "a.h5");

  const TableFile table(folder / "a.h5", kExpected);

  EXPECT_EQ(table.content_digest(), digest);
  EXPECT_EQ(table.header().stage, "probe");
  EXPECT_EQ(table.header().parents, kHeader.parents);
  EXPECT_EQ(table.text_attribute("sae"), "small");
  EXPECT_EQ(table.text_attribute("empty"), "");
  EXPECT_EQ(table.count_attribute("d_sae"), 3u);
  EXPECT_EQ(table.read<float>("stats/mean"), (std::vector<float>{1.0f, -2.0f, 3.5f}));
  EXPECT_EQ(table.read<std::uint64_t>("stats/count"), (std::vector<std::uint64_t>{7, 8, 9}));
  EXPECT_EQ(table.read<std::int64_t>("signed"), (std::vector<std::int64_t>{-1, 0, 1}));
  EXPECT_TRUE(table.read<std::uint32_t>("none").empty());
  EXPECT_EQ(table.read_rows<double>("pairs", 1, 2), (std::vector<double>{3, 4, 5, 6}));
  EXPECT_EQ(table.read_strings("label"),
            (std::vector<std::string>{"chemistry", "", "Z\xC3\xBCrich"}));
  EXPECT_EQ(table.column("pairs").axes, "F,2");
  EXPECT_NO_THROW(table.verify_content());
}

TEST(TableFile, has_the_same_bytes_when_written_twice) {
  const ScratchFolder folder;

  const std::string first = write(folder / "a.h5");
  const std::string second = write(folder / "b.h5");

  EXPECT_EQ(first, second);
  EXPECT_EQ(read_file(folder / "a.h5"), read_file(folder / "b.h5"));
  EXPECT_EQ(folder.files(), 2u) << "a temporary file was left";
}

TEST(TableFile, has_another_digest_when_one_value_differs) {
  const ScratchFolder folder;

  EXPECT_NE(write(folder / "a.h5"), write(folder / "b.h5", 3.25f));
}

TEST(TableFile, refuses_another_schema_version_or_parent_and_names_it) {
  const ScratchFolder folder;
  write(folder / "a.h5");
  const auto refusal = [&](const ArtifactExpectation& expected) {
    return data_error([&] { TableFile(folder / "a.h5", expected); });
  };

  expect_contains(refusal({"token-shard", 1, {}}), "schema is features, expected token-shard");
  expect_contains(refusal({"features", 2, {}}),
                  "in schema version 1; this refract reads version 2");
  expect_contains(refusal({"features", 1, {{"sae", "cccc"}}}), "parent sae is aaaa, expected cccc");
  expect_contains(refusal({"features", 1, {{"tokenizer", "d"}}}),
                  "parent tokenizer is absent, expected d");
  expect_contains(refusal({"features", 2, {}}), (folder / "a.h5").string());
}

TEST(TableFile, refuses_a_file_cut_short_at_any_length) {
  const ScratchFolder folder;
  write(folder / "a.h5");
  const std::string whole = read_file(folder / "a.h5");

  for (const std::size_t length :
       {std::size_t{0}, std::size_t{7}, whole.size() / 2, whole.size() - 1}) {
    write_file(folder / "a.h5", std::string_view(whole).substr(0, length));
    expect_contains(data_error([&] { TableFile(folder / "a.h5", kExpected); }), "is damaged");
  }
}

TEST(TableFile, refuses_a_missing_file_and_one_that_is_not_hdf5) {
  const ScratchFolder folder;
  write_file(folder / "text.h5", "not a table at all");

  expect_contains(data_error([&] { TableFile(folder / "none.h5", kExpected); }), "is missing");
  expect_contains(data_error([&] { TableFile(folder / "text.h5", kExpected); }), "damaged");
}

TEST(TableFile, finds_a_flipped_byte) {
  const ScratchFolder folder;
  write(folder / "a.h5");
  const std::string whole = read_file(folder / "a.h5");
  test::flip_byte(folder / "a.h5", whole.find("chemistry"));

  expect_contains(data_error([&] { TableFile(folder / "a.h5", kExpected); }), "checksum");
  const TableFile table(folder / "a.h5", kExpected, TableFile::Checks::none);
  expect_contains(data_error([&] { table.verify_content(); }), "digest");
}

TEST(TableFile, notices_any_changed_byte_before_hdf5_reads_one) {
  const ScratchFolder folder;
  write(folder / "a.h5");
  const std::uint64_t size = fs::file_size(folder / "a.h5");

  for (std::uint64_t byte = 0; byte < size; ++byte) {
    test::flip_byte(folder / "a.h5", byte);
    EXPECT_THROW(TableFile(folder / "a.h5", kExpected), Damaged) << "byte " << byte;
    test::flip_byte(folder / "a.h5", byte);
  }
  EXPECT_NO_THROW(TableFile(folder / "a.h5", kExpected));
}

TEST(TableFile, names_the_datasets_there_are_and_the_dtype_found) {
  const ScratchFolder folder;
  write(folder / "a.h5");
  const TableFile table(folder / "a.h5", kExpected);

  expect_contains(data_error([&] { (void)table.column("means"); }), "stats/mean");
  expect_contains(data_error([&] { (void)table.read<double>("stats/mean"); }),
                  "holds fp32, expected fp64");
}

TEST(TableFile, leaves_nothing_where_no_file_can_be_made) {
  const ScratchFolder folder;
  write_file(folder / "occupied", "a file, not a folder");

  EXPECT_THROW(write(folder / "occupied/a.h5"), SystemError);
  EXPECT_EQ(folder.files(), 1u);
}

TEST(TableFile, ends_in_one_error_and_leaves_nothing_where_the_disk_is_full) {
  const ScratchFolder folder;
  write(folder / "whole.h5");
  const std::uint64_t whole = fs::file_size(folder / "whole.h5");

  // In the data, in what HDF5 writes when it closes the file, and at its very start.
  for (const std::uint64_t bytes : {whole - 1, whole / 2, whole / 8, std::uint64_t{64}}) {
    const std::string text = test::error_on_full_disk(bytes, [&] { write(folder / "a.h5"); });

    expect_contains(text, (folder / "a.h5.part").string());
    expect_contains(text, "ulimit -f");
    EXPECT_EQ(folder.files(), 1u) << "with " << bytes << " bytes of " << whole;
  }
}

TEST(DescribeArtifact, tells_schema_parents_and_every_dataset) {
  const ScratchFolder folder;
  write(folder / "a.h5");

  const std::string text = describe_artifact(folder / "a.h5");

  for (const char* part :
       {"features version 1", "parent   sae aaaa", "/stats/mean", "fp32", "axes F,2", "d_sae"})
    expect_contains(text, part);
}

TEST(DescribeArtifact, refuses_what_is_no_artifact) {
  const ScratchFolder folder;
  write_file(folder / "a.txt", "hello");

  expect_contains(data_error([&] { (void)describe_artifact(folder / "a.txt"); }), "neither");
  expect_contains(data_error([&] { (void)describe_artifact(folder / "b.txt"); }), "does not exist");
}

}  // namespace
}  // namespace refract
