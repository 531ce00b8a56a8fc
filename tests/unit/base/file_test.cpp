#include "refract/base/file.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <fstream>

#include "refract/base/error.hpp"

namespace refract {
namespace {

fs::path scratch(const char* name) {
  const fs::path folder = fs::path(testing::TempDir()) / name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

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

TEST(AppendLog, goes_back_to_a_recorded_length) {
  const fs::path file = scratch("append_back") / "log";
  AppendLog log(file);
  log.append("one");
  const std::uint64_t length = log.size();
  log.append("two");

  log.truncate(length);
  log.append("three");

  EXPECT_EQ(read_file(file), "one\nthree\n");
}

TEST(MappedFile, refuses_an_absent_or_empty_file) {
  const fs::path folder = scratch("mapped");
  std::ofstream(folder / "empty").close();

  EXPECT_THROW(MappedFile(folder / "absent"), DataError);
  EXPECT_THROW(MappedFile(folder / "empty"), DataError);
}

}  // namespace
}  // namespace refract
