#include "refract/pipeline/rank_plan.hpp"

#include <gtest/gtest.h>

#include "refract/pipeline/training_plan.hpp"

namespace refract {
namespace {

RunConfig config_of(const std::vector<std::string>& settings) {
  return load_run_config(std::string(REFRACT_SOURCE_DIR) + "/configs/demo.yaml", settings);
}

ModelInfo model_of(std::uint64_t d_model) {
  ModelInfo model;
  model.layers = 6;
  model.d_model = static_cast<std::uint32_t>(d_model);
  model.parameter_bytes = 1000;
  return model;
}

RankPlan plan_of(const RunConfig& config, int ranks, std::uint64_t shards = 8) {
  const CorpusSize corpus{.shards = shards, .tokens = 125'000 * shards, .documents = 100 * shards};
  return plan_rank(config, model_of(256), corpus,
                   plan_roles({.layout = ranks == 1 ? "auto" : "fused"}, ranks, 2), 0);
}

TEST(RankPlan, holds_no_more_for_a_longer_corpus_but_on_rank_0) {
  const RunConfig config = config_of({"tokens.window_shards=4"});

  const RankPlan some = plan_of(config, 4, 80), many = plan_of(config, 4, 8000);

  EXPECT_EQ(many.memory_bytes(), some.memory_bytes());
  EXPECT_EQ(many.root_bytes - some.root_bytes, 16u * 100u * (8000u - 80u));
}

TEST(RankPlan, holds_its_share_of_a_chunk_and_sends_its_share_of_each_sum) {
  const RunConfig config = config_of({});
  const auto rows_of = [&](int ranks) {
    for (const auto& [what, bytes] : plan_of(config, ranks).memory)
      if (what == "its rows of a chunk, as stored") return bytes;
    return std::uint64_t{0};
  };

  EXPECT_EQ(rows_of(1), config.store.chunk_rows * 256 * 2);  // bf16
  EXPECT_EQ(rows_of(8), rows_of(1) / 8);
  EXPECT_EQ(plan_of(config, 1).sent_bytes, 0u);
  EXPECT_LT(plan_of(config, 2).sent_bytes, plan_of(config, 8).sent_bytes);
  // fast: two buffers of all gradients, (R - 1) / R of each, in every step. A feature's gradient is
  // 2 x 256 and two, in lines of 16.
  std::uint64_t gradients = 0;
  for (const SaeConfig& sae : config.saes) gradients += 4 * sae.d_sae * 528;
  const std::uint64_t steps =
      config.store.chunk_rows / config.train.batch_rows * config.train.passes_per_chunk;
  EXPECT_NEAR(static_cast<double>(plan_of(config, 2).sent_bytes),
              static_cast<double>(steps * gradients), 16.0);
}

TEST(TrainingPlan, has_the_chunks_that_the_order_has) {
  for (const std::uint64_t corpus : {5000u, 131072u, 131072u + 4095u, 131072u + 4096u, 1'000'000u})
    for (const char* tokens : {"all", "200000", "4096"}) {
      const RunConfig config = config_of({std::string("train.tokens=") + tokens});
      const OrderRule rule = order_rule(config);
      SampleOrder order(rule, wanted_rows(config));
      order.add_window(corpus);
      order.end_of_corpus();

      const TrainingPlan plan = plan_training(config, rule, order.rows());

      EXPECT_EQ(plan.chunks, order.chunks()) << corpus << " rows, train.tokens " << tokens;
      if (wanted_rows(config) == 0) {
        EXPECT_EQ(plan.steps, order.batches_per_pass() * config.train.passes_per_chunk);
      }
    }
}

TEST(TrainingPlan, keeps_the_schedule_of_what_was_asked_for_where_the_corpus_ends_early) {
  const RunConfig config = config_of({"train.tokens=1000000"});
  const OrderRule rule = order_rule(config);

  const TrainingPlan asked = plan_training(config, rule, std::nullopt),
                     found = plan_training(config, rule, 300'000);

  EXPECT_EQ(found.steps, asked.steps);
  EXPECT_EQ(asked.chunks, 8u);
  EXPECT_EQ(found.chunks, 3u);
}

}  // namespace
}  // namespace refract
