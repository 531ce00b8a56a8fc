#include "pipeline/metrics_log.hpp"

#include <gtest/gtest.h>

namespace refract {
namespace {

class MetricsLogOnDisk : public ::testing::Test {
 protected:
  MetricsLogOnDisk()
      : file_(fs::path(::testing::TempDir()) /
              (std::string("metrics_") +
               ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::remove(file_);
    MetricsLog log(file_);
    for (const char* line : {"one", "two"}) {
      log.add(line);
      MetricsLog::append(file_, line);
    }
    mark_ = log.mark();
  }
  fs::path file_;
  MetricsMark mark_;
};

TEST_F(MetricsLogOnDisk, is_marked_by_its_length_and_the_digest_of_its_bytes) {
  EXPECT_EQ(read_file(file_), "one\ntwo\n");
  EXPECT_EQ(mark_.bytes, 8u);
  EXPECT_EQ(mark_.digest, sha256_hex("one\ntwo\n"));
}

TEST_F(MetricsLogOnDisk, goes_on_from_a_mark_and_cuts_what_is_beyond) {
  write_file(file_, "one\ntwo\nthree\nto");
  MetricsLog log(file_);

  ASSERT_TRUE(log.resume(mark_));

  EXPECT_EQ(read_file(file_), "one\ntwo\n");
  log.add("three");
  EXPECT_EQ(log.mark().digest, sha256_hex("one\ntwo\nthree\n"));
}

TEST_F(MetricsLogOnDisk, does_not_go_on_from_other_bytes_and_leaves_them) {
  for (const char* other : {"one\ntwO\n", "one\n", ""}) {
    write_file(file_, other);

    EXPECT_FALSE(MetricsLog(file_).resume(mark_)) << other;

    EXPECT_EQ(read_file(file_), other);
  }
  fs::remove(file_);
  EXPECT_FALSE(MetricsLog(file_).resume(mark_));
  EXPECT_TRUE(MetricsLog(file_).resume({0, sha256_hex("")})) << "nothing was written yet";
}

TEST_F(MetricsLogOnDisk, goes_on_from_what_it_was_written_again_with) {
  write_file(file_, "other\n");
  MetricsLog log(file_);

  log.rewrite("one\ntwo\n");

  EXPECT_EQ(read_file(file_), "one\ntwo\n");
  EXPECT_EQ(log.mark().digest, mark_.digest);
}

}  // namespace
}  // namespace refract
