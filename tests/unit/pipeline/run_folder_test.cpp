#include "refract/pipeline/run_folder.hpp"

#include <gtest/gtest.h>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"

namespace refract {
namespace {

TEST(RunFolder, writes_the_slash_of_a_model_name_as_two_dashes) {
  EXPECT_EQ(model_display_name("google/gemma-3-270m@main"), "google--gemma-3-270m");
  EXPECT_EQ(model_display_name("file:configs/demo/model"), "model");
  EXPECT_EQ(run_folder("r", "google--gemma").store, fs::path("r/google--gemma_activations"));
}

TEST(Status, is_one_line_of_word_job_attempt_code_and_text) {
  const fs::path file = fs::path(testing::TempDir()) / "status";
  fs::remove(file);
  EXPECT_FALSE(read_status(file).has_value());

  write_status(file, {"failed", "slurm-17", 3, 4, "disk full\nwhile writing"});

  EXPECT_EQ(read_file(file), "failed slurm-17 3 4 disk full while writing\n");
  const std::optional<RunStatus> status = read_status(file);
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(status->word, "failed");
  EXPECT_EQ(status->job, "slurm-17");
  EXPECT_EQ(status->attempt, 3u);
  EXPECT_EQ(status->code, 4);
  EXPECT_EQ(status->text, "disk full while writing");
}

TEST(Status, has_no_code_while_it_runs) {
  const fs::path file = fs::path(testing::TempDir()) / "status2";
  write_status(file, {"running", "pid-9", 1, 0, ""});

  EXPECT_EQ(read_file(file), "running pid-9 1\n");
  EXPECT_EQ(read_status(file)->attempt, 1u);
}

TEST(Status, of_another_form_is_none) {
  const fs::path file = fs::path(testing::TempDir()) / "status3";
  write_file(file, "resume\n");

  EXPECT_FALSE(read_status(file).has_value());
}

}  // namespace
}  // namespace refract
