#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "refract/corpus/read_shard.hpp"

namespace refract {

namespace fs = std::filesystem;

// A folder of its own for each test, empty at the start.
class CorpusTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / "refract_corpus_test" / info->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  [[nodiscard]] fs::path write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }

  fs::path folder_;
};

inline CleaningRules keep_short() {
  CleaningRules rules;
  rules.min_chars = 0;
  return rules;
}

}  // namespace refract
