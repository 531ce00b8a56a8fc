#pragma once
// A folder of the running test's own, empty at the start and removed at the end; and its files as
// bytes.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"

namespace refract::test {

class ScratchFolder {
 public:
  ScratchFolder() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(::testing::TempDir()) / fmt::format("refract_store_{}_{}.{}", ::getpid(),
                                                           test->test_suite_name(), test->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~ScratchFolder() { remove_all_quietly(folder_); }
  [[nodiscard]] fs::path operator/(const std::string& name) const { return folder_ / name; }
  [[nodiscard]] const fs::path& path() const { return folder_; }
  [[nodiscard]] std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator{}));
  }

 private:
  fs::path folder_;
};

inline void flip_byte(const fs::path& path, std::uint64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(static_cast<char>(byte ^ 0x20));
}

// Flips one byte after the other, every `step`-th of the file; where `read` neither throws Damaged
// (or another DataError, where the byte belongs to the header) nor gives what it gave before.
template <typename Read>
[[nodiscard]] std::string flips_not_found(const fs::path& path, std::uint64_t step, Read&& read) {
  const auto whole = read();
  const std::uint64_t bytes = fs::file_size(path);
  std::string missed;
  std::uint64_t found = 0;
  for (std::uint64_t byte = 0; byte < bytes; byte += step) {
    flip_byte(path, byte);
    try {
      if (!(read() == whole)) missed += fmt::format(" {}", byte);
    } catch (const DataError&) {
      ++found;
    }
    flip_byte(path, byte);
  }
  return found > 0 ? missed : " none was found";
}

// The message of the DataError that `action` throws; empty when it throws none.
template <typename Action>
[[nodiscard]] std::string data_error(Action&& action) {
  try {
    action();
  } catch (const DataError& error) {
    return error.what();
  }
  return {};
}

inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos)
      << "\"" << text << "\" does not hold \"" << part << "\"";
}

}  // namespace refract::test
