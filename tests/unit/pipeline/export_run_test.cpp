#include "refract/pipeline/export_run.hpp"

#include <gtest/gtest.h>

#include "refract/base/error.hpp"
#include "refract/pipeline/numerics.hpp"
#include "support/checkpoint_run.hpp"

namespace refract {
namespace {

using testing_support::CheckpointRun;

// Two chunks of a run of three: checkpoints in bf16, and `latest` as a stop leaves it.
class ExportOfARun : public ::testing::Test {
 protected:
  ExportOfARun()
      : root_(fs::path(::testing::TempDir()) /
              (std::string("export_") +
               ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::remove_all(root_);
    CheckpointRun run(root_ / "run", 3);
    for (int chunk = 0; chunk < 2; ++chunk) {
      run.train();
      run.save_chunk();
      run.settle();
    }
    write_file(run.folder().run_yaml(),
               frozen_text({.config = run.config(), .inputs = {}, .numerics = {}}));
    run.train();
    run.save_within(Checkpoints::Reason::stop);
    run.settle();
  }
  ~ExportOfARun() override { fs::remove_all(root_); }

  [[nodiscard]] ExportRequest request(const std::string& format = "sparsify") const {
    return {.run = root_ / "run", .format = format, .out = root_ / "out"};
  }
  [[nodiscard]] static std::string failure(const ExportRequest& request) {
    try {
      (void)export_sae(request);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  static void expect_failure(const ExportRequest& request, const std::string& words) {
    EXPECT_NE(failure(request).find(words), std::string::npos) << failure(request);
  }

  fs::path root_;
};

TEST_F(ExportOfARun, takes_the_first_sae_as_it_is_now) {
  const fs::path made = export_sae(request());

  EXPECT_EQ(made, root_ / "out" / testing_support::kHook);
  const SafetensorsFile latest(root_ / "run/saes/a/latest/sae_weights.safetensors"),
      exported(made / "sae.safetensors");
  EXPECT_EQ(read_f32(exported.at("W_dec")), read_f32(latest.at("W_dec")));
}

TEST_F(ExportOfARun, takes_another_sae_and_checkpoint_where_they_are_named) {
  ExportRequest wanted = request("saelens");
  wanted.sae = "b";
  wanted.checkpoint = "chunk-000000";

  const fs::path made = export_sae(wanted);

  EXPECT_EQ(made, root_ / "out");
  const SafetensorsFile then(root_ / "run/saes/b/checkpoints/chunk-000000/sae_weights.safetensors"),
      exported(made / "sae_weights.safetensors");
  EXPECT_EQ(read_f32(exported.at("W_dec")), read_f32(then.at("W_dec")));
}

TEST_F(ExportOfARun, has_the_same_bytes_twice) {
  ExportRequest again = request("dictionary_learning");
  again.out = root_ / "again";

  const fs::path first = export_sae(request("dictionary_learning")), second = export_sae(again);

  for (const char* file : {"ae.pt", "config.json"})
    EXPECT_EQ(read_file(first / file), read_file(second / file)) << file;
}

TEST_F(ExportOfARun, writes_over_nothing_and_leaves_nothing_half_done) {
  (void)export_sae(request());

  expect_failure(request(), "exists already");
  EXPECT_EQ(std::distance(fs::directory_iterator(root_ / "out"), fs::directory_iterator()), 1);
}

TEST_F(ExportOfARun, refuses_what_there_is_not_and_names_what_there_is) {
  ExportRequest other = request();
  other.run = root_;
  expect_failure(other, "it has no run.yaml");
  other = request();
  other.sae = "c";
  expect_failure(other, "has a, b");
  other = request();
  other.checkpoint = "chunk-000009";
  expect_failure(other, "one of: chunk-000000, chunk-000001");
  expect_failure(request("onnx"), "expected one of saelens, sparsify, dictionary_learning");
  EXPECT_FALSE(fs::exists(root_ / "out"));
}

TEST_F(ExportOfARun, refuses_a_folder_that_is_not_what_was_written) {
  const fs::path weights = root_ / "run/saes/a/latest/sae_weights.safetensors";
  std::string bytes = read_file(weights);
  bytes.back() ^= 1;
  write_file(weights, bytes);

  expect_failure(request(), "is not what was written");
}

}  // namespace
}  // namespace refract
