#include "refract/sae/config.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "refract/base/error.hpp"
#include "refract/sae/variant.hpp"
#include "sae/variant_table.hpp"

namespace refract {
namespace {

SaeConfig good() {
  return {.name = "small", .hooks = {"blocks.0.hook_resid_post"}, .d_sae = 64, .k = 4};
}

std::string refusal(const auto& config, const char* where) {
  try {
    check(config, where);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(SaeConfig, reconstructs_what_it_reads_unless_a_target_is_named) {
  using Names = std::vector<std::string>;
  SaeConfig config{.name = "a", .hooks = {"blocks.0.hook_resid_post"}};
  EXPECT_EQ(hook_text(config), "blocks.0.hook_resid_post");
  EXPECT_EQ(target_hooks(config), config.hooks);
  EXPECT_EQ(only_hook(config), "blocks.0.hook_resid_post");

  config.hooks = {"a", "b"};
  EXPECT_EQ(hook_text(config), "a+b");
  EXPECT_EQ(target_hooks(config), (Names{"a", "b"}));

  config.target_hook = "c";
  EXPECT_EQ(hook_text(config), "a+b");
  EXPECT_EQ(target_hooks(config), Names{"c"});
  EXPECT_TRUE(is_transcoder(config));
  config.hooks = {"c"};
  EXPECT_FALSE(is_transcoder(config));
  EXPECT_EQ(only_target_hook(config), "c");
}

TEST(SaeConfig, accepts_the_defaults) {
  EXPECT_EQ(refusal(good(), "saes.0"), "");
  EXPECT_EQ(refusal(OptimizerConfig{}, "train.optimizer"), "");
}

TEST(SaeConfig, refuses_k_above_d_sae_and_says_what_to_do) {
  SaeConfig config = good();
  config.k = 65;

  EXPECT_EQ(refusal(config, "saes.0"), "saes.0.k is 65 but d_sae is 64. Lower k or raise d_sae.");
}

TEST(SaeConfig, refuses_impossible_values) {
  for (const auto spoil :
       {+[](SaeConfig& c) { c.name = "a/b"; }, +[](SaeConfig& c) { c.k = 0; },
        +[](SaeConfig& c) { c.d_sae = 0; }, +[](SaeConfig& c) { c.d_sae = 1ull << 31; },
        +[](SaeConfig& c) { c.aux.coefficient = -1; }}) {
    SaeConfig config = good();
    spoil(config);
    EXPECT_NE(refusal(config, "saes.0"), "");
  }
  for (const auto spoil :
       {+[](OptimizerConfig& c) { c.lr = 0; }, +[](OptimizerConfig& c) { c.warmup = 0.9; },
        +[](OptimizerConfig& c) { c.beta2 = 1; }, +[](OptimizerConfig& c) { c.epsilon = 0; }}) {
    OptimizerConfig config;
    spoil(config);
    EXPECT_NE(refusal(config, "train.optimizer"), "");
  }
}

TEST(SaeConfig, refuses_what_its_variant_would_ignore_and_says_whose_it_is) {
  SaeConfig relu = good();
  relu.variant = "relu";
  EXPECT_EQ(refusal(relu, "saes.0"),
            "saes.0.k is 4, but variant relu has no such setting (of: topk, batchtopk). Leave it "
            "out, or at 0.");
  relu.k = 0;
  EXPECT_EQ(refusal(relu, "saes.0"), "");
  relu.aux.coefficient = 0;
  EXPECT_NE(refusal(relu, "saes.0").find("saes.0.aux.coefficient is 0"), std::string::npos);

  for (const auto spoil :
       {+[](SaeConfig& c) { c.threshold_rate = 0.02; }, +[](SaeConfig& c) { c.l1.coefficient = 4; },
        +[](SaeConfig& c) { c.l1.warmup_steps = 9; }}) {
    SaeConfig topk = good();
    spoil(topk);
    EXPECT_NE(refusal(topk, "saes.0").find("variant topk has no such setting"), std::string::npos);
  }
  SaeConfig batchtopk = good();
  batchtopk.variant = "batchtopk";
  batchtopk.threshold_rate = 0.02;
  batchtopk.aux.k = 3;
  EXPECT_EQ(refusal(batchtopk, "saes.0"), "");
}

TEST(VariantTable, makes_every_variant_it_names) {
  for (const std::string_view name : variant_names()) {
    SaeConfig config = good();
    config.variant = name;
    const auto& own = variant_row(config).own;
    if (std::ranges::find(own, OwnSetting::k) == own.end()) config.k = 0;
    EXPECT_EQ(make_variant(config, 16, 100)->name(), name);
  }
  EXPECT_FALSE(variant_names().empty());
}

TEST(VariantTable, refuses_an_unknown_variant_and_lists_the_known) {
  SaeConfig config = good();
  config.variant = "topkk";
  try {
    (void)make_variant(config, 16, 100);
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("known variants: topk"), std::string::npos);
  }
}

}  // namespace
}  // namespace refract
