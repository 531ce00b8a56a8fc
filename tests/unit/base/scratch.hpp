#pragma once
#include <gtest/gtest.h>

#include "refract/base/file.hpp"

namespace refract::test {

// An empty folder called so, among the temporary ones.
inline fs::path scratch(const char* name) {
  const fs::path folder = fs::path(testing::TempDir()) / name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

}  // namespace refract::test
