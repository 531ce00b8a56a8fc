#include "refract/pipeline/run_folder.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"

namespace refract {
namespace {

TEST(RunLock, refuses_a_second_process_and_names_the_owner) {
  const fs::path file = fs::path(testing::TempDir()) / "run.lock";
  fs::remove(file);
  const RunLock lock(file, "job-17");

  const pid_t child =
      ::fork();  // fcntl locks are of a process, so only another process can be refused
  if (child == 0) {
    try {
      const RunLock second(file, "job-18");
      std::_Exit(1);
    } catch (const SystemError& error) {
      std::_Exit(std::string(error.what()).find("job job-17") != std::string::npos ? 0 : 2);
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);

  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(RunLock, can_be_taken_again_when_its_owner_has_ended) {
  const fs::path file = fs::path(testing::TempDir()) / "run2.lock";
  { const RunLock lock(file, "a"); }

  EXPECT_NO_THROW(RunLock(file, "b"));
}

TEST(RunFolder, writes_the_slash_of_a_model_name_as_two_dashes) {
  EXPECT_EQ(model_display_name("google/gemma-3-270m@main"), "google--gemma-3-270m");
  EXPECT_EQ(model_display_name("file:configs/demo/model"), "model");
  EXPECT_EQ(run_folder("r", "google--gemma").store, fs::path("r/google--gemma_activations"));
}

TEST(Status, is_one_line_and_empty_when_absent) {
  const fs::path file = fs::path(testing::TempDir()) / "status";
  fs::remove(file);
  EXPECT_EQ(read_status(file), "");

  write_status(file, "resume");

  EXPECT_EQ(read_status(file), "resume");
}

}  // namespace
}  // namespace refract
