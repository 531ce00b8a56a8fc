#include "refract/sae/trainer_state.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <utility>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "support/one_rank_step.hpp"
#include "unit/sae/problem.hpp"

namespace refract {
namespace {

using namespace testing_support;

class TrainerStateOnDisk : public ::testing::Test {
 protected:
  TrainerStateOnDisk() : problem_(make_problem(16, 96, 4, 32, 8, true)) {
    folder_ = fs::path(::testing::TempDir()) /
              (std::string("trainer_state_") +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    make_folder(folder_);
    step();
    problem_.state.scalars["threshold"] = 0.1;
    metadata_.config_digest = "abc";
    metadata_.parents["store"] = "def";
    metadata_.values["chunk"] = "3";
    problem_.state.trained_rows = 29;
    (void)write_trainer_state(folder_, problem_.state, metadata_);
  }
  ~TrainerStateOnDisk() override { fs::remove_all(folder_); }

  void step() { (void)rank_.step(problem_, problem_.batch()); }
  // "damaged: " and the message, "refused: " and the message, or nothing.
  [[nodiscard]] std::string refusal(const SaeConfig& config, std::size_t d_in,
                                    const std::string& digest) const {
    try {
      (void)read_trainer_state(folder_, config, {d_in, d_in}, digest);
    } catch (const Damaged& error) {
      return std::string("damaged: ") + error.what();
    } catch (const DataError& error) {
      return std::string("refused: ") + error.what();
    }
    return "";
  }
  [[nodiscard]] std::string refusal() const { return refusal(problem_.config, 16, "abc"); }
  void replace_in_json(const std::string& from, const std::string& to) {
    std::string text = read_file(folder_ / "state.json");
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    write_file(folder_ / "state.json", text.replace(at, from.size(), to));
  }

  Problem problem_;
  OneRank rank_;
  TrainerMetadata metadata_;
  fs::path folder_;
};

TEST_F(TrainerStateOnDisk, continues_as_if_never_stopped) {
  StoredTrainerState read = read_trainer_state(folder_, problem_.config, {16, 16}, "abc");
  EXPECT_EQ(read.state.step, 1U);
  EXPECT_EQ(read.state.trained_rows, 29U);
  EXPECT_EQ(read.state.scalars, problem_.state.scalars);
  EXPECT_EQ(read.metadata.parents, metadata_.parents);
  EXPECT_EQ(read.metadata.values, metadata_.values);
  EXPECT_EQ(read.metadata.weights_digest, weights_digest(problem_.state.parameters));

  step();
  const SaeState stayed = std::exchange(problem_.state, std::move(read.state));
  problem_.buffers.reset();
  step();

  EXPECT_EQ(weights_digest(problem_.state.parameters), weights_digest(stayed.parameters));
  EXPECT_EQ(weights_digest(problem_.state.m), weights_digest(stayed.m));
  EXPECT_EQ(weights_digest(problem_.state.v), weights_digest(stayed.v));
  EXPECT_TRUE(std::ranges::equal(problem_.state.age.span(), stayed.age.span()));
}

TEST_F(TrainerStateOnDisk, holds_the_mean_of_weights_where_there_is_one) {
  problem_.state.mean = copy(problem_.state.v);
  problem_.config.ema = 0.9;
  EXPECT_NE(refusal().find("ema.W_enc"), std::string::npos) << "one without it";
  const std::string weights = weights_digest(problem_.state.parameters);

  (void)write_trainer_state(folder_, problem_.state, metadata_);

  const SaeState read = read_trainer_state(folder_, problem_.config, {16, 16}, "abc").state;
  ASSERT_TRUE(read.mean);
  EXPECT_EQ(weights_digest(*read.mean), weights_digest(problem_.state.v));
  EXPECT_EQ(metadata_.weights_digest, weights);
  problem_.config.ema = 0;
  EXPECT_TRUE(refusal().starts_with("damaged: ")) << "tensors that no setting explains";
}

TEST_F(TrainerStateOnDisk, has_bytes_that_depend_on_its_content_alone) {
  const std::string weights = read_file(folder_ / "trainer_state.safetensors");
  const std::string json = read_file(folder_ / "state.json");

  (void)write_trainer_state(folder_, problem_.state, metadata_);

  EXPECT_EQ(read_file(folder_ / "trainer_state.safetensors"), weights);
  EXPECT_EQ(read_file(folder_ / "state.json"), json);
}

TEST_F(TrainerStateOnDisk, refuses_another_configuration_and_names_the_field) {
  const std::string other = refusal(problem_.config, 16, "xyz");
  EXPECT_TRUE(other.starts_with("refused: ")) << other;
  EXPECT_NE(other.find("config_digest is abc, expected xyz"), std::string::npos);
  SaeConfig wider = problem_.config;
  wider.d_sae = 128;
  EXPECT_NE(refusal(wider, 16, "abc").find("W_enc"), std::string::npos);
  EXPECT_NE(refusal(problem_.config, 17, "abc").find("W_enc"), std::string::npos);
}

TEST_F(TrainerStateOnDisk, calls_it_damaged_when_a_file_is_cut_or_absent) {
  for (const char* file : {"trainer_state.safetensors", "state.json"}) {
    const std::string whole = read_file(folder_ / file);
    for (const std::string& spoilt : {whole.substr(0, whole.size() - 7), whole.substr(0, 9),
                                      std::string(), std::string("{}"), std::string("null")}) {
      write_file(folder_ / file, spoilt);
      EXPECT_TRUE(refusal().starts_with("damaged: ")) << file << spoilt.size() << refusal();
    }
    fs::remove(folder_ / file);
    EXPECT_TRUE(refusal().starts_with("damaged: ")) << file << refusal();
    write_file(folder_ / file, whole);
    EXPECT_EQ(refusal(), "");
  }
}

TEST_F(TrainerStateOnDisk, calls_any_changed_byte_of_the_tensors_damage) {
  const fs::path path = folder_ / "trainer_state.safetensors";
  const std::string whole = read_file(path);
  std::size_t flipped = 0;
  // A prime step, so that every tensor, the header and every place in an element are met.
  for (std::size_t at = 0; at < whole.size(); at += 211, ++flipped) {
    std::string spoilt = whole;
    spoilt[at] = static_cast<char>(spoilt[at] ^ 0x20);
    write_file(path, spoilt);
    ASSERT_TRUE(refusal().starts_with("damaged: ")) << "byte " << at << ": " << refusal();
  }
  EXPECT_GT(flipped, 90U);
}

TEST_F(TrainerStateOnDisk, calls_any_changed_value_of_state_json_damage) {
  const std::string whole = read_file(folder_ / "state.json");
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"\"step\": 1", "\"step\": 2"},
           {"\"step\": 1", "\"step\":  1"},
           {"\"step\": 1", "\"step\": -1"},
           {"\"step\": 1,", ""},
           {"\"trained_rows\": 29", "\"trained_rows\": \"29\""},
           {"\"chunk\": 3", "\"chunk\": 4"},
           {"\"store\": \"def\"", "\"store\": \"deg\""},
           {"\"threshold\": 0.1", "\"threshold\": 0.2"},
           {"\"version\": 2", "\"version\": \"2\""},
           {"\"config_digest\": \"abc\"", "\"config_digest\": \"abd\""},
           {"\"state_digest\"", "\"state_digesu\""},
           {"\"weights_digest\"", "\"weights_digesu\""}}) {
    replace_in_json(from, to);
    EXPECT_TRUE(refusal().starts_with("damaged: ")) << to << refusal();
    EXPECT_THROW((void)read_trainer_metadata(folder_), Damaged) << to;
    write_file(folder_ / "state.json", whole);
  }
}

TEST_F(TrainerStateOnDisk, another_schema_version_is_not_damage) {
  replace_in_json("\"version\": 2", "\"version\": 1");

  EXPECT_TRUE(refusal().starts_with("refused: ")) << refusal();
  EXPECT_NE(refusal().find("version 1 of its schema; this refract reads 2"), std::string::npos);
}

TEST_F(TrainerStateOnDisk, calls_tensors_of_another_state_damage) {
  const std::string json = read_file(folder_ / "state.json");
  TrainerMetadata other = metadata_;
  problem_.state.v.W_dec.data()[5] += 1;
  (void)write_trainer_state(folder_, problem_.state, other);
  EXPECT_NE(other.state_digest, metadata_.state_digest);
  EXPECT_EQ(other.weights_digest, metadata_.weights_digest);
  write_file(folder_ / "state.json", json);

  EXPECT_NE(refusal().find("its tensors have the digest"), std::string::npos) << refusal();
}

// The goldens are made by the Python lines of docs/formats/checkpoint.md.
TEST_F(TrainerStateOnDisk, digests_panels_as_the_format_says) {
  SaeState state;
  float next = 0;
  for (SaeParameters* part : {&state.parameters, &state.m, &state.v}) {
    *part = make_parameters({.d_sae = 130, .d_in = 2, .d_out = 2});
    for (const auto& [name, tensor] : named_tensors(*part))
      for (float& value : tensor.span()) value = 0.5F * next++;
  }
  state.age = Tensor<std::uint64_t>(Shape{130});
  std::iota(state.age.span().begin(), state.age.span().end(), 0U);
  TrainerMetadata metadata;

  (void)write_trainer_state(folder_, state, metadata);

  EXPECT_EQ(weights_digest(state.parameters),
            "f860728bbc8987045900ff6ffad198e7e0476593a0513f30689643397039b515");
  EXPECT_EQ(metadata.weights_digest, weights_digest(state.parameters));
  std::string text = read_file(folder_ / "state.json");
  text.replace(text.find(metadata.state_digest), 64, std::string(64, '0'));
  EXPECT_EQ(metadata.state_digest, sha256_hex(text));
  EXPECT_NE(read_file(folder_ / "state.json")
                .find("\"tensors_digest\": "
                      "\"393b3235e03bd7a4495ba79ba7f10e511e1fe300e066e7f1c19cc5d58276f8a7\""),
            std::string::npos);
}

TEST_F(TrainerStateOnDisk, metadata_can_be_read_without_the_trainer_state) {
  fs::remove(folder_ / "trainer_state.safetensors");

  EXPECT_EQ(read_trainer_metadata(folder_).weights_digest, metadata_.weights_digest);
  EXPECT_EQ(read_trainer_metadata(folder_).state_digest, metadata_.state_digest);
}

}  // namespace
}  // namespace refract
