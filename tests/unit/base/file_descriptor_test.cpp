#include "refract/base/file_descriptor.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "unit/base/scratch.hpp"

namespace refract {
namespace {

using test::scratch;

std::span<std::byte> bytes_of(std::string& text) { return std::as_writable_bytes(std::span(text)); }

TEST(FileDescriptor, reads_back_what_was_written_by_place) {
  const FileDescriptor file(scratch("fd_place") / "a", O_RDWR | O_CREAT);
  file.write_at(3, "def");
  file.write_at(0, "abc");

  std::string middle(4, ' '), most(10, ' ');
  file.read_at(1, bytes_of(middle));

  EXPECT_EQ(middle, "bcde");
  EXPECT_EQ(file.read_at_most(4, bytes_of(most)), 2U);
  EXPECT_EQ(most.substr(0, 2), "ef");
  EXPECT_EQ(file.size(), 6U);
}

TEST(FileDescriptor, takes_a_file_that_ends_before_for_damaged) {
  const FileDescriptor file(scratch("fd_short") / "a", O_RDWR | O_CREAT);
  file.write_at(0, "abc");
  std::string four(4, ' ');
  try {
    file.read_at(1, bytes_of(four));
    FAIL();
  } catch (const Damaged& error) {
    EXPECT_NE(std::string(error.what()).find("it ends before byte 5"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find(file.path().string()), std::string::npos);
  }
}

TEST(FileDescriptor, is_read_by_place_from_several_threads_at_once) {
  constexpr std::uint64_t kWords = 20'000;
  const FileDescriptor file(scratch("fd_threads") / "a", O_RDWR | O_CREAT);
  std::string all;
  for (std::uint64_t i = 0; i < kWords; ++i) all += fmt::format("{:08}", i);
  file.write_at(0, all);

  std::vector<std::uint64_t> wrong(4, 0), seen(4, 0);
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < wrong.size(); ++t)
      threads.emplace_back([&, t] {
        for (std::uint64_t i = t; i < kWords; i += wrong.size()) {
          std::string word(8, ' ');
          file.read_at(8 * i, bytes_of(word));
          wrong[t] += word != fmt::format("{:08}", i);
          ++seen[t];
        }
      });
  }

  for (std::size_t t = 0; t < wrong.size(); ++t) {
    EXPECT_EQ(wrong[t], 0U);
    EXPECT_EQ(seen[t], kWords / wrong.size());
  }
}

TEST(FileDescriptor, is_closed_by_its_last_owner) {
  const fs::path path = scratch("fd_owner") / "a";
  FileDescriptor first(path, O_RDWR | O_CREAT);
  const int number = first.number();
  {
    FileDescriptor second = std::move(first);
    EXPECT_FALSE(first.is_open());
    EXPECT_EQ(second.number(), number);
    EXPECT_EQ(second.path(), path);
  }

  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
  EXPECT_EQ(errno, EBADF);
}

TEST(FileDescriptor, is_not_inherited_by_a_program_that_is_started) {
  const FileDescriptor file(scratch("fd_exec") / "a", O_RDWR | O_CREAT);

  EXPECT_TRUE(::fcntl(file.number(), F_GETFD) & FD_CLOEXEC);
}

TEST(FileDescriptor, says_what_it_was_doing_where_it_cannot_be_opened) {
  try {
    const FileDescriptor file("/nonexistent/folder/a", O_RDONLY, "syncing");
    FAIL();
  } catch (const SystemError& error) {
    EXPECT_EQ(std::string(error.what()),
              "syncing /nonexistent/folder/a: No such file or directory");
  }
}

TEST(FileDescriptor, of_an_input_refuses_what_is_absent_or_a_directory) {
  EXPECT_THROW((void)FileDescriptor::of_input("/nonexistent/a"), DataError);
  EXPECT_THROW((void)FileDescriptor::of_input(scratch("fd_folder")), DataError);
}

TEST(FileDescriptor, that_may_fail_to_open_leaves_the_reason) {
  const FileDescriptor file = FileDescriptor::try_open("/nonexistent/a", O_RDONLY);

  EXPECT_FALSE(file.is_open());
  EXPECT_EQ(errno, ENOENT);
}

// Whatever is written to /dev/full finds the disk full.
TEST(FileDescriptor, finds_the_disk_full) {
  const FileDescriptor file("/dev/full", O_WRONLY);
  for (const auto& write : std::vector<std::function<void()>>{[&] { file.write_next("x"); },
                                                              [&] { file.write_at(0, "x"); }}) {
    try {
      write();
      FAIL();
    } catch (const SystemError& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with("disk full while writing /dev/full"));
    }
  }
}

TEST(WriteFile, leaves_nothing_of_what_could_not_be_filled) {
  const fs::path path = scratch("fd_fill") / "a";
  write_file(path, "old");

  const auto fill = [](const FileDescriptor& file) {
    file.write_next("half");
    throw DataError("no more");
  };

  EXPECT_THROW(write_file(path, fill), DataError);
  EXPECT_EQ(read_file(path), "old");
  EXPECT_FALSE(fs::exists(part_name(path)));
}

}  // namespace
}  // namespace refract
