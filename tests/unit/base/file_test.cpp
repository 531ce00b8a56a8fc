#include "refract/base/file.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <fstream>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "unit/base/scratch.hpp"

namespace refract {
namespace {

using test::scratch;

TEST(WriteFile, replaces_a_file_and_leaves_no_temporary_name) {
  const fs::path folder = scratch("write_file");

  write_file(folder / "a", "one");
  write_file(folder / "a", "two");

  EXPECT_EQ(read_file(folder / "a"), "two");
  EXPECT_FALSE(fs::exists(part_name(folder / "a")));
}

TEST(WriteFile, says_what_and_where_when_the_folder_is_missing) {
  try {
    write_file("/nonexistent/folder/a", "x");
    FAIL();
  } catch (const SystemError& error) {
    EXPECT_NE(std::string(error.what()).find("/nonexistent/folder/a"), std::string::npos);
  }
}

TEST(ReadFile, reads_a_file_that_says_it_is_empty_to_its_end) {
  EXPECT_NE(read_file("/proc/self/stat").find(')'), std::string::npos);
}

TEST(ReadFile, reads_a_file_longer_than_one_read) {
  const fs::path file = scratch("read_file") / "long";
  const std::string text(300'000, 'x');
  write_file(file, text + "end");

  EXPECT_EQ(read_file(file), text + "end");
}

TEST(ReadFile, refuses_a_directory_as_one) {
  const fs::path folder = scratch("read_folder");
  try {
    (void)read_file(folder);
    FAIL();
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find(folder.string() + ": it is a directory"),
              std::string::npos)
        << error.what();
  }
}

// Nothing is mapped at address 0: reading there is an I/O error.
TEST(ReadFile, takes_a_read_error_for_no_shorter_file) {
  const auto refusal = [](auto&& read) {
    try {
      read();
    } catch (const SystemError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_TRUE(
      refusal([] { (void)read_file("/proc/self/mem"); }).starts_with("reading /proc/self/mem: "));
  EXPECT_TRUE(refusal([] {
                (void)sha256_of_file("/proc/self/mem");
              }).starts_with("reading /proc/self/mem: "));
}

TEST(FileError, of_a_full_disk_says_what_to_do) {
  try {
    throw_file_error("writing", "x", ENOSPC);
  } catch (const SystemError& error) {
    EXPECT_NE(std::string(error.what()).find("free space there"), std::string::npos);
  }
}

TEST(AppendLog, cuts_a_torn_last_line_when_opened) {
  const fs::path file = scratch("append_log") / "log";
  std::ofstream(file) << "whole\ntorn";

  AppendLog log(file);
  log.append("next");

  EXPECT_EQ(read_file(file), "whole\nnext\n");
}

TEST(AppendLog, cuts_a_torn_line_of_any_length_and_no_whole_one) {
  constexpr std::size_t kPiece = std::size_t{64} << 10;
  const fs::path file = scratch("append_long") / "log";
  for (const std::string& whole :
       {std::string(), std::string("whole\n"),
        std::string(kPiece, 'a') + "\n" + std::string(kPiece, 'b') + "\n"})
    for (const std::size_t torn : {std::size_t{0}, kPiece - 1, kPiece, kPiece + 1, 3 * kPiece}) {
      write_file(file, whole + std::string(torn, 'x'));

      AppendLog log(file);

      EXPECT_EQ(log.size(), whole.size()) << torn;
      log.append("next");
      EXPECT_EQ(read_file(file), whole + "next\n") << torn;
    }
}

TEST(AppendLog, refuses_a_directory) {
  const fs::path folder = scratch("append_folder");

  EXPECT_THROW(AppendLog{folder}, SystemError);
}

TEST(MappedFile, refuses_an_absent_or_empty_file) {
  const fs::path folder = scratch("mapped");
  std::ofstream(folder / "empty").close();

  EXPECT_THROW(MappedFile(folder / "absent"), DataError);
  EXPECT_THROW(MappedFile(folder / "empty"), DataError);
}

}  // namespace
}  // namespace refract
