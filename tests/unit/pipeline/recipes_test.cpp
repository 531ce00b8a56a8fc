#include "pipeline/recipes.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/pipeline/identity.hpp"
#include "refract/sae/variant.hpp"

namespace refract {
namespace {

// A configuration whose train: and whose one entry of saes: hold what is given.
class Recipe : public ::testing::Test {
 protected:
  ~Recipe() override { fs::remove(file_); }

  RunConfig read(const std::string& train, const std::string& sae,
                 const std::vector<std::string>& overrides = {}) const {
    write_file(file_,
               fmt::format("model: file:model\n"
                           "source: {{from: \"file:shards/*.jsonl\"}}\n"
                           "hooks: [blocks.1.hook_resid_post]\n"
                           "store: {{chunk_rows: 65536, block_rows: 1024}}\n"
                           "train: {{{}}}\n"
                           "saes:\n"
                           "  - {{name: a, hook: blocks.1.hook_resid_post, d_sae: 1024{}}}\n",
                           train, sae));
    return load_run_config(file_.string(), overrides);
  }
  static const SaeConfig& only(const RunConfig& config) { return config.saes.at(0); }

  const fs::path file_ = fs::path(::testing::TempDir()) / "refract_recipe.yaml";
};

TEST_F(Recipe, none_changes_nothing) {
  const RunConfig without = read("", ", k: 8"), none = read("recipe: none", ", k: 8");

  EXPECT_EQ(to_yaml(without), to_yaml(none));
  EXPECT_EQ(only(none).optimizer.lr, OptimizerConfig{}.lr);
}

TEST_F(Recipe, log_is_what_the_research_log_says) {
  const RunConfig config = read("recipe: log", ", k: 50");

  EXPECT_EQ(config.train.batch_rows, 256u);
  EXPECT_EQ(config.train.data_seed, 4738u);
  EXPECT_EQ(config.train.clip, 0);
  EXPECT_EQ(config.train.input_scale, "none");
  EXPECT_EQ(only(config).normalize, "none");
  EXPECT_EQ(only(config).seed, 4738u);
  EXPECT_EQ(only(config).optimizer.lr, 1e-3);
  EXPECT_EQ(only(config).optimizer.warmup, 0);
  EXPECT_EQ(only(config).optimizer.decay, 0);
  EXPECT_EQ(only(config).aux.coefficient, 0);
  EXPECT_EQ(only(config).penalty.kind, "l1");
  EXPECT_EQ(only(config).penalty.coefficient, 0.01 / 4);
  EXPECT_FALSE(only(config).penalty.weighted);
  EXPECT_EQ(only(read("recipe: log", ", variant: relu")).penalty.coefficient, 0.01 / 4);
}

TEST_F(Recipe, saelens_topk_is_what_saelens_has_by_default) {
  const RunConfig config = read("recipe: saelens-topk", ", k: 50");

  EXPECT_EQ(config.train.batch_rows, 4096u);
  EXPECT_EQ(config.train.clip, 1.0);
  EXPECT_EQ(only(config).variant, "topk");
  EXPECT_EQ(only(config).normalize, "none");
  EXPECT_EQ(only(config).optimizer.lr, 3e-4);
  EXPECT_EQ(only(config).optimizer.warmup + only(config).optimizer.decay, 0);
  EXPECT_EQ(only(config).b_dec, "zero");
  EXPECT_EQ(only(config).aux.coefficient, 1.0);
  const SaeConfig relu = only(read("recipe: saelens-topk", ", variant: relu"));
  EXPECT_EQ(relu.decoder_norm, "free");
  EXPECT_EQ(relu.penalty.coefficient, 1.0);
}

TEST_F(Recipe, dictionary_learning_takes_the_rate_of_the_dictionarys_size) {
  const RunConfig config = read("recipe: dictionary-learning", ", k: 50");

  EXPECT_EQ(only(config).optimizer.lr, 2e-4 / std::sqrt(1024.0 / 16384));
  EXPECT_EQ(only(config).optimizer.lr, 8e-4);
  EXPECT_EQ(only(config).optimizer.warmup, 1000);
  EXPECT_EQ(only(config).aux.coefficient, 1.0 / 32);
  EXPECT_EQ(only(config).b_dec, "median");
  EXPECT_EQ(only(read("recipe: dictionary-learning", ", k: 50, variant: batchtopk")).threshold_rate,
            0.001);
  const SaeConfig jumprelu = only(read("recipe: dictionary-learning", ", variant: jumprelu"));
  EXPECT_EQ(jumprelu.optimizer.lr, 7e-5);
  EXPECT_EQ(jumprelu.optimizer.beta1, 0);
  EXPECT_EQ(jumprelu.penalty.kind, "l0");
  EXPECT_EQ(jumprelu.penalty.target, 20);
  EXPECT_EQ(jumprelu.jumprelu.bandwidth, 0.001);
}

TEST_F(Recipe, gemma_scope_is_of_jumprelu_where_no_variant_is_given) {
  const RunConfig config = read("recipe: gemma-scope", "");

  EXPECT_EQ(only(config).variant, "jumprelu");
  EXPECT_EQ(config.train.clip, 0);
  EXPECT_EQ(only(config).normalize, "sqrt_d");
  EXPECT_EQ(only(config).optimizer.lr, 7e-5);
  EXPECT_EQ(only(config).optimizer.beta1, 0);
  EXPECT_EQ(only(config).optimizer.warmup, 1000);
  EXPECT_EQ(only(config).penalty.kind, "l0");
  EXPECT_EQ(only(config).penalty.warmup_steps, 10000u);
  EXPECT_EQ(only(config).jumprelu.threshold, 0.05);
  EXPECT_EQ(only(read("recipe: gemma-scope", ", k: 8, variant: topk")).variant, "topk");
}

TEST_F(Recipe, gives_every_variant_what_it_takes) {
  std::size_t read_so = 0;
  for (const std::string_view name : recipe_names())
    for (const std::string_view variant : variant_names()) {
      const bool counts = variant.find("topk") != std::string_view::npos || variant == "matryoshka";
      const std::string more = fmt::format(
          ", variant: {}{}{}", variant, counts ? ", k: 8" : "",
          // A recipe that knows no such variant leaves what makes it sparse to the entry.
          variant == "gated"      ? ", penalty: {kind: l1}"
          : variant == "jumprelu" ? ", penalty: {kind: l0}"
                                  : "");
      EXPECT_NO_THROW((void)read(fmt::format("recipe: {}", name), more)) << name << more;
      ++read_so;
    }
  EXPECT_GE(read_so, 35u);
}

TEST_F(Recipe, gives_way_to_what_the_file_says_of_train_and_of_an_entry) {
  const RunConfig of_train =
      read("recipe: log, clip: 2, input_scale: sqrt_d, optimizer: {lr: 0.5}", ", k: 8");
  EXPECT_EQ(of_train.train.clip, 2);
  EXPECT_EQ(of_train.train.batch_rows, 256u);
  EXPECT_EQ(only(of_train).normalize, "sqrt_d");
  EXPECT_EQ(only(of_train).optimizer.lr, 0.5);
  EXPECT_EQ(only(of_train).optimizer.warmup, 0);

  const RunConfig of_entry =
      read("recipe: log", ", k: 8, seed: 7, normalize: sqrt_d, optimizer: {lr: 0.25}, aux: {k: 3}");
  EXPECT_EQ(only(of_entry).seed, 7u);
  EXPECT_EQ(only(of_entry).normalize, "sqrt_d");
  EXPECT_EQ(only(of_entry).optimizer.lr, 0.25);
  EXPECT_EQ(only(of_entry).optimizer.decay, 0);
  EXPECT_EQ(of_entry.train.optimizer.lr, 1e-3);
  EXPECT_EQ(only(of_entry).aux.k, 3u);
  EXPECT_EQ(only(of_entry).aux.coefficient, 0);
  // The rate by the dictionary's size is of the entry, and yet train's is asked first.
  EXPECT_EQ(only(read("recipe: dictionary-learning, optimizer: {lr: 0.5}", ", k: 8")).optimizer.lr,
            0.5);
}

TEST_F(Recipe, leaves_a_penalty_of_another_kind_alone) {
  const SaeConfig none = only(read("recipe: log", ", k: 8, penalty: {kind: none}"));
  const SaeConfig kl = only(read("recipe: log", ", k: 8, penalty: {kind: kl, target: 0.1}"));
  const SaeConfig stronger = only(read("recipe: log", ", k: 8, penalty: {coefficient: 3}"));

  EXPECT_EQ(none.penalty.coefficient, PenaltyConfig{}.coefficient);
  EXPECT_TRUE(kl.penalty.weighted);
  EXPECT_EQ(stronger.penalty.kind, "l1");
  EXPECT_EQ(stronger.penalty.coefficient, 3);
}

TEST_F(Recipe, may_be_set_from_the_command_line_and_so_may_what_wins) {
  const RunConfig config = read(
      "clip: 2", ", k: 8", {"train.recipe=log", "saes.*.optimizer.lr=0.5", "train.data_seed=3"});

  EXPECT_EQ(config.train.recipe, "log");
  EXPECT_EQ(config.train.batch_rows, 256u);
  EXPECT_EQ(config.train.clip, 2);
  EXPECT_EQ(config.train.data_seed, 3u);
  EXPECT_EQ(only(config).optimizer.lr, 0.5);
  EXPECT_EQ(only(config).seed, 4738u);
  EXPECT_EQ(where_given(config, "saes.0.seed"), "train.recipe log");
  EXPECT_EQ(where_given(config, "train.clip").find(file_.string()), 0u);
}

TEST_F(Recipe, is_frozen_with_every_value_and_read_back_the_same) {
  for (const std::string_view name : recipe_names()) {
    const RunConfig config =
        read(fmt::format("recipe: {}", name), ", k: 8, variant: topk, seeds: 2");
    const std::string frozen = to_yaml(config);

    EXPECT_EQ(to_yaml(run_config_from_text(frozen, "run.yaml")), frozen);
    EXPECT_NE(frozen.find(fmt::format("recipe: {}\n", name)), std::string::npos);
    EXPECT_EQ(config.saes.at(1).seed, config.saes.at(0).seed + 1);
  }
}

TEST_F(Recipe, is_in_no_digest_by_its_name) {
  const RunConfig log = read("recipe: log", ", k: 8");
  const RunConfig by_hand = read(
      "batch_rows: 256, data_seed: 4738, clip: 0, input_scale: none, "
      "optimizer: {lr: 1e-3, warmup: 0, decay: 0}",
      ", k: 8, seed: 4738, aux: {coefficient: 0}, "
      "penalty: {kind: l1, coefficient: 0.0025, weighted: false}");

  EXPECT_EQ(as_text(training_settings(log, 0)), as_text(training_settings(by_hand, 0)));
  EXPECT_EQ(first_difference(log, by_hand, Depends::training), "");
}

TEST_F(Recipe, of_an_unknown_name_is_refused_with_those_there_are) {
  try {
    (void)read("recipe: magic", ", k: 8");
    FAIL() << "magic was taken";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what())
                  .find("train.recipe is 'magic'; expected one of: none, log, saelens-topk, "
                        "dictionary-learning, gemma-scope"),
              std::string::npos)
        << error.what();
  }
  EXPECT_NE(settings_reference("train").find("dictionary-learning"), std::string::npos);
}

TEST(Recipes, say_whose_they_are) {
  std::set<std::string_view> sources;
  for (const std::string_view name : recipe_names()) sources.insert(recipe_source(name));

  EXPECT_EQ(sources.size(), recipe_names().size());
}

}  // namespace
}  // namespace refract
