#pragma once
// A temporary folder that all ranks of a test see: made by rank 0, and gone at the end.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "refract/base/file.hpp"
#include "support/world.hpp"

namespace refract::test {

class SharedFolder {
 public:
  explicit SharedFolder(const std::string& name) {
    std::string folder =
        (fs::path(testing::TempDir()) / fmt::format("{}_{}", name, ::getpid())).string();
    world().broadcast_string(folder, 0);
    path_ = folder;
    if (world().rank() == 0) make_folder(path_);
  }
  ~SharedFolder() {
    world().barrier();
    if (world().rank() == 0) fs::remove_all(path_);
  }
  SharedFolder(const SharedFolder&) = delete;

  [[nodiscard]] const fs::path& path() const { return path_; }
  // A file that rank 0 writes, once it is there for all. write(path)
  template <typename Write>
  fs::path collective_file(Write&& write) {
    const fs::path file = path_ / std::to_string(files_++);
    if (world().rank() == 0) write(file);
    world().barrier();
    return file;
  }

 private:
  fs::path path_;
  int files_ = 0;
};

}  // namespace refract::test
