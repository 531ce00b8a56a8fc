#include "refract/pipeline/identity.hpp"

#include <gtest/gtest.h>

#include "refract/base/file.hpp"
#include "refract/pipeline/numerics.hpp"

namespace refract {
namespace {

const std::string kDemo = std::string(REFRACT_SOURCE_DIR) + "/configs/demo.yaml";

RunConfig demo(const std::vector<std::string>& settings = {}) {
  return load_run_config(kDemo, settings);
}

std::string difference(const std::string& setting, Depends depends) {
  return first_difference(demo(), demo({setting}), depends);
}

TEST(Identity, of_the_store_holds_what_shapes_rows_and_nothing_of_train) {
  const std::string base = as_text(store_settings(demo()));
  for (const char* same :
       {"run=other", "data_root=elsewhere", "disk.max_bytes=9GiB", "checkpoint.every_s=5",
        "probe.examples=3", "train.batch_rows=8192", "train.tokens=131072",
        "train.input_scale=none", "train.reduction=ordered", "saes.0.k=8", "store.mode=keep"}) {
    EXPECT_EQ(as_text(store_settings(demo({same}))), base) << same;
    EXPECT_EQ(difference(same, Depends::store), "") << same;
  }
  for (const char* other : {"store.seed=2", "tokens.context=128", "rows.take=last",
                            "heldout.share=0.2", "store.dtype=fp32"}) {
    EXPECT_NE(as_text(store_settings(demo({other}))), base) << other;
    EXPECT_NE(difference(other, Depends::store), "") << other;
    EXPECT_EQ(difference(other, Depends::training), "") << other;
  }
}

TEST(Identity, of_an_sae_holds_train_and_its_own_entry) {
  const std::string base = as_text(training_settings(demo(), 0));
  for (const char* same : {"saes.1.k=8", "train.exchange=sharded", "train.cache_bytes=1GiB",
                           "probe.examples=3", "checkpoint.keep=all"})
    EXPECT_EQ(as_text(training_settings(demo({same}), 0)), base) << same;
  for (const char* other :
       {"train.clip=2", "saes.0.k=8", "train.optimizer.lr=1e-4", "saes.0.optimizer.lr=1e-4",
        "saes.0.aux.coefficient=0", "train.input_scale=none", "saes.0.normalize=none"}) {
    EXPECT_NE(as_text(training_settings(demo({other}), 0)), base) << other;
    EXPECT_NE(difference(other, Depends::training), "") << other;
  }
}

TEST(Identity, of_an_sae_holds_what_it_reads_and_reconstructs_and_keeps_the_words_of_one_hook) {
  RunConfig config = demo();
  const auto has = [&](const char* line) {
    return as_text(training_settings(config, 0)).find(line) != std::string::npos;
  };
  EXPECT_TRUE(has("\nsae.hook=blocks.2.hook_resid_post\n"));
  EXPECT_TRUE(has("\nsae.target_hook=\n"));

  config.saes.at(0).hooks = {"blocks.2.hook_resid_post", "blocks.3.hook_resid_post"};
  config.saes.at(0).target_hook = "blocks.4.hook_mlp_out";
  EXPECT_TRUE(has("\nsae.hook=[blocks.2.hook_resid_post, blocks.3.hook_resid_post]\n"));
  EXPECT_TRUE(has("\nsae.target_hook=blocks.4.hook_mlp_out\n"));
  EXPECT_EQ(to_yaml(run_config_from_text(to_yaml(config), "run.yaml")), to_yaml(config));
}

TEST(Identity, is_the_same_whether_train_or_the_sae_gives_the_optimizer) {
  EXPECT_EQ(as_text(training_settings(demo({"train.optimizer.lr=2e-4"}), 0)),
            as_text(training_settings(demo({"saes.*.optimizer.lr=2e-4"}), 0)));
}

TEST(Identity, names_the_setting_that_differs_from_the_frozen_one) {
  EXPECT_EQ(difference("train.clip=2", Depends::training), "train.clip: was 1, is now 2");
}

TEST(Identity, freezes_settings_when_something_depends_on_them) {
  const RunConfig frozen = demo(), store = demo({"tokens.context=128"}), sae = demo({"saes.0.k=9"});

  EXPECT_EQ(frozen_difference(frozen, store, false, false), "");
  EXPECT_EQ(frozen_difference(frozen, store, true, false), "tokens.context: was 256, is now 128");
  EXPECT_EQ(frozen_difference(frozen, sae, true, false), "");
  EXPECT_EQ(frozen_difference(frozen, sae, true, true),
            first_difference(frozen, sae, Depends::training));
  EXPECT_EQ(frozen_difference(frozen, frozen, true, true), "");
}

TEST(Identity, each_part_of_the_analysis_has_its_own_settings) {
  const RunConfig base = demo(), other = demo({"report.file=other.html"});

  EXPECT_EQ(as_text(evaluate_settings(base)), as_text(evaluate_settings(other)));
  EXPECT_EQ(as_text(probe_settings(base)), as_text(probe_settings(other)));
  EXPECT_NE(as_text(report_settings(base)), as_text(report_settings(other)));
}

DownloadPlan corpus(std::vector<ShardRef> shards) {
  DownloadPlan plan{.digest = "d", .folder = {}, .data_root = {}, .shards = std::move(shards)};
  for (const ShardRef& shard : plan.shards) plan.digest += shard.name + shard.hash;
  return plan;
}

ShardRef shard(const char* name, std::uint64_t bytes, const char* sha256) {
  ShardRef ref;
  ref.name = name;
  ref.bytes = bytes;
  ref.hash = sha256;
  return ref;
}

TEST(Corpus, names_the_first_shard_that_differs) {
  const DownloadPlan was = corpus({shard("a", 10, "x"), shard("b", 20, "y")});

  EXPECT_EQ(first_difference(was, was), "");
  EXPECT_EQ(first_difference(was, corpus({shard("a", 10, "x"), shard("b", 20, "z")})),
            "shard b has other content (20 bytes, were 20)");
  EXPECT_EQ(first_difference(was, corpus({shard("0", 5, "w"), shard("a", 10, "x")})),
            "shard 1 of 2 was a, is now 0");
  EXPECT_EQ(first_difference(was, corpus({shard("a", 10, "x")})),
            "shard 2 of 2 was b, is now absent");
  EXPECT_EQ(
      first_difference(was, corpus({shard("a", 10, "x"), shard("b", 20, "y"), shard("c", 1, "v")})),
      "shard c is new");
}

TEST(Corpus, is_written_so_that_a_difference_can_be_named) {
  const fs::path file = fs::path(testing::TempDir()) / "corpus.json";
  const DownloadPlan was = corpus({shard("a\"b", 10, "x"), shard("c", 20, "y")});
  write_file(file, corpus_text(was));

  const std::optional<DownloadPlan> read = read_corpus(file);

  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(first_difference(*read, was), "");
  write_file(file, "{\"digest\": 7}");
  EXPECT_FALSE(read_corpus(file).has_value());
}

ModelInfo model_of(std::size_t d_model) {
  ModelInfo model;
  model.d_model = d_model;
  return model;
}
const ModelInfo kModel = model_of(256);

TEST(Numerics, of_training_may_change_rank_count_only_under_ordered) {
  const RunConfig fast = demo(), ordered = demo({"train.reduction=ordered"});

  EXPECT_EQ(
      training_difference(current_numerics(fast, kModel, 1), current_numerics(fast, kModel, 2)),
      "training ranks: were 1, are now 2");
  EXPECT_EQ(training_difference(current_numerics(ordered, kModel, 1),
                                current_numerics(ordered, kModel, 2)),
            "");
}

TEST(FrozenRun, reads_back_what_was_written) {
  const fs::path file = fs::path(testing::TempDir()) / "frozen_run.yaml";
  const RunConfig config = demo({"saes.1.optimizer.lr=3e-4"});
  write_file(file, frozen_text({.config = config,
                                .inputs = {"gpt2", "0f3c", "ad01"},
                                .numerics = current_numerics(config, kModel, 3)}));

  const FrozenRun frozen = read_frozen(file);

  EXPECT_EQ(to_yaml(frozen.config), to_yaml(config));
  EXPECT_EQ(frozen.inputs.model_name, "gpt2");
  EXPECT_EQ(frozen.inputs.model_digest, "0f3c");
  EXPECT_EQ(frozen.inputs.advice, "ad01");
  EXPECT_EQ(frozen.numerics.ranks, 3u);
}

}  // namespace
}  // namespace refract
