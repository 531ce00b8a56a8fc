#include "refract/sae/checkpoint.hpp"

#include <gtest/gtest.h>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "support/one_rank_step.hpp"
#include "unit/sae/problem.hpp"

namespace refract {
namespace {

using namespace testing_support;

class Checkpoint : public ::testing::Test {
 protected:
  Checkpoint() : problem_(make_problem(16, 96, 4, 32, 8, true)) {
    folder_ = fs::path(::testing::TempDir()) /
              (std::string("checkpoint_") +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    make_folder(folder_);
    step();
    problem_.state.scalars["threshold"] = 0.1;
    metadata_.config_digest = "abc";
    metadata_.parents["store"] = "def";
    metadata_.values["chunk"] = "3";
    write_trainer_state(folder_, problem_.state, metadata_);
  }
  ~Checkpoint() override { fs::remove_all(folder_); }

  void step() {
    (void)one_rank_step(*problem_.variant, problem_.state, problem_.batch(), {}, 10, 1.0);
  }
  [[nodiscard]] std::string refusal(const SaeConfig& config, std::size_t d_in,
                                    const std::string& digest) const {
    try {
      (void)read_trainer_state(folder_, config, d_in, digest);
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  }

  Problem problem_;
  TrainerMetadata metadata_;
  fs::path folder_;
};

TEST_F(Checkpoint, continues_as_if_never_stopped) {
  TrainerCheckpoint read = read_trainer_state(folder_, problem_.config, 16, "abc");
  EXPECT_EQ(read.state.step, 1U);
  EXPECT_EQ(read.state.scalars, problem_.state.scalars);
  EXPECT_EQ(read.metadata.parents, metadata_.parents);
  EXPECT_EQ(read.metadata.values, metadata_.values);
  EXPECT_EQ(read.metadata.weights_digest, weights_digest(problem_.state.parameters));

  step();
  (void)one_rank_step(*problem_.variant, read.state, problem_.batch(), {}, 10, 1.0);

  EXPECT_EQ(weights_digest(read.state.parameters), weights_digest(problem_.state.parameters));
  EXPECT_EQ(weights_digest(read.state.m), weights_digest(problem_.state.m));
  EXPECT_EQ(weights_digest(read.state.v), weights_digest(problem_.state.v));
  EXPECT_EQ(read.state.age, problem_.state.age);
}

TEST_F(Checkpoint, has_bytes_that_depend_on_its_content_alone) {
  const std::string weights = read_file(folder_ / "trainer_state.safetensors");
  const std::string json = read_file(folder_ / "state.json");

  write_trainer_state(folder_, problem_.state, metadata_);

  EXPECT_EQ(read_file(folder_ / "trainer_state.safetensors"), weights);
  EXPECT_EQ(read_file(folder_ / "state.json"), json);
}

TEST_F(Checkpoint, refuses_another_configuration_and_names_the_field) {
  EXPECT_NE(refusal(problem_.config, 16, "xyz").find("config_digest is abc, expected xyz"),
            std::string::npos);
  SaeConfig wider = problem_.config;
  wider.d_sae = 128;
  EXPECT_NE(refusal(wider, 16, "abc").find("W_enc"), std::string::npos);
  EXPECT_NE(refusal(problem_.config, 17, "abc").find("W_enc"), std::string::npos);
}

TEST_F(Checkpoint, refuses_damaged_files) {
  const fs::path weights = folder_ / "trainer_state.safetensors";
  const std::string whole = read_file(weights);
  write_file(weights, whole.substr(0, whole.size() - 7));
  EXPECT_NE(refusal(problem_.config, 16, "abc"), "");

  write_file(weights, whole);
  EXPECT_EQ(refusal(problem_.config, 16, "abc"), "");
  write_file(folder_ / "state.json", "{\"schema\": \"refr");
  EXPECT_NE(refusal(problem_.config, 16, "abc"), "");
  write_file(folder_ / "state.json", "{\"schema\": \"refract.trainer_state\", \"version\": 2}");
  EXPECT_NE(refusal(problem_.config, 16, "abc").find("config_digest"), std::string::npos);
}

TEST_F(Checkpoint, refuses_weights_that_were_changed) {
  TrainerMetadata other = metadata_;
  const std::string json = read_file(folder_ / "state.json");
  problem_.state.parameters.W_enc.data()[5] += 1;
  write_trainer_state(folder_, problem_.state, other);
  write_file(folder_ / "state.json", json);

  EXPECT_NE(refusal(problem_.config, 16, "abc").find("weights digest"), std::string::npos);
}

TEST_F(Checkpoint, metadata_can_be_read_without_the_trainer_state) {
  fs::remove(folder_ / "trainer_state.safetensors");

  EXPECT_EQ(read_trainer_metadata(folder_).weights_digest, metadata_.weights_digest);
}

}  // namespace
}  // namespace refract
