#include "refract/pipeline/training_layout.hpp"

#include <gtest/gtest.h>

#include "refract/base/error.hpp"

namespace refract {
namespace {

RunConfig config_of(const std::vector<std::string>& settings) {
  return load_run_config(std::string(REFRACT_SOURCE_DIR) + "/configs/demo.yaml", settings);
}
ModelInfo model_of(std::size_t d_model) {
  ModelInfo model;
  model.d_model = d_model;
  return model;
}

std::string refusal(const std::vector<std::string>& settings, int ranks) {
  try {
    (void)training_layout(config_of(settings), model_of(256), ranks);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(TrainingLayout, divides_rows_on_few_ranks_and_shards_on_more) {
  const TrainingLayout two = training_layout(config_of({}), model_of(256), 2),
                       eight = training_layout(config_of({"train.mesh={rows: 8, features: 1}"}),
                                               model_of(256), 8);

  EXPECT_EQ(two.mesh, (MeshShape{2, 1}));
  EXPECT_EQ(two.exchange, "all_reduce");
  EXPECT_EQ(eight.exchange, "sharded");
}

// reference: data parallelism sends 8 F D bytes and more, a cut dictionary B (6 D + 24 k): it pays
// where F is well above B.
TEST(TrainingLayout, cuts_a_dictionary_that_is_larger_than_the_batch) {
  const std::vector<std::string> wide{"saes.*.d_sae=65536", "train.batch_rows=4096"};

  EXPECT_GT(training_layout(config_of(wide), model_of(256), 8).mesh.features, 1u);
  std::vector<std::string> ordered = wide;
  ordered.push_back("train.reduction=ordered");
  EXPECT_EQ(training_layout(config_of(ordered), model_of(256), 8).mesh.features, 1u);
}

TEST(TrainingLayout, takes_the_least_bytes_of_those_weighed) {
  const RunConfig config = config_of({"saes.*.d_sae=16384"});
  const std::vector<LayoutCost> weighed = layouts_weighed(config, model_of(256), 8);

  ASSERT_GT(weighed.size(), 2u);
  for (const LayoutCost& cost : weighed)
    EXPECT_GE(cost.sent_bytes, weighed.front().sent_bytes) << describe(cost.layout);
}

TEST(TrainingLayout, takes_the_mesh_and_the_exchange_that_are_asked_for) {
  const TrainingLayout layout = training_layout(
      config_of({"train.mesh={rows: 2, features: 4}", "train.exchange=sharded"}), model_of(256), 8);

  EXPECT_EQ(layout.mesh, (MeshShape{2, 4}));
  EXPECT_EQ(layout.exchange, "sharded");
}

TEST(TrainingLayout, refuses_in_one_line_what_does_not_fit) {
  EXPECT_NE(
      refusal({"train.mesh={rows: 3, features: 1}"}, 4).find("3 x 1 ranks, but 4 ranks train"),
      std::string::npos);
  EXPECT_NE(refusal({"train.groups=3", "saes.0.seeds=3"}, 4).find("cannot be dealt evenly"),
            std::string::npos);
  EXPECT_NE(refusal({"train.groups=3"}, 6).find("there are 2 SAEs"), std::string::npos);
  EXPECT_NE(refusal({"train.mesh={rows: 1, features: 2}", "train.reduction=ordered"}, 2)
                .find("adds in the order of one rank"),
            std::string::npos);
  EXPECT_NE(refusal({"train.mesh={rows: 1, features: 32}"}, 32).find("16 panels of 64 features"),
            std::string::npos);
  EXPECT_NE(refusal({"train.mesh=square"}, 4).find("expected auto or {rows: R, features: C}"),
            std::string::npos);
}

TEST(TrainingLayout, deals_every_sae_to_one_group_evenly) {
  const RunConfig config = config_of({"saes.0.seeds=4"});  // four of 1024 features, one of 4096
  const auto groups = saes_of_groups(config, 2);

  EXPECT_EQ(groups, (std::vector<std::vector<std::size_t>>{{4}, {0, 1, 2, 3}}));
}

}  // namespace
}  // namespace refract
