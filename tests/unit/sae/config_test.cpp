#include "refract/sae/config.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "refract/base/error.hpp"
#include "refract/sae/variant.hpp"
#include "support/any_variant.hpp"

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
        +[](SaeConfig& c) { c.aux.coefficient = -1; }, +[](SaeConfig& c) { c.ema = 1; }}) {
    SaeConfig config = good();
    spoil(config);
    EXPECT_NE(refusal(config, "saes.0"), "");
  }
  for (const auto spoil :
       {+[](OptimizerConfig& c) { c.lr = 0; }, +[](OptimizerConfig& c) { c.warmup = 0.9; },
        +[](OptimizerConfig& c) { c.decay = 1.5; }, +[](OptimizerConfig& c) { c.warmup = -1; },
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
            "saes.0.k is 4, but variant relu has no such setting (of: topk, abstopk, batchtopk, "
            "matryoshka). "
            "Leave it out, or at 0.");
  relu.k = 0;
  EXPECT_EQ(refusal(relu, "saes.0"), "");
  relu.aux.coefficient = 0;
  EXPECT_NE(refusal(relu, "saes.0").find("saes.0.aux.coefficient is 0"), std::string::npos);

  for (const auto spoil : {+[](SaeConfig& c) { c.threshold_rate = 0.02; },
                           +[](SaeConfig& c) { c.jumprelu.threshold = 4; },
                           +[](SaeConfig& c) { c.prefixes = {"9"}; }}) {
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

TEST(SaeConfig, refuses_schedules_that_do_not_fall) {
  const auto refused = [](std::size_t k_start, double k_decay) {
    SaeConfig config = good();
    config.k_start = k_start;
    config.k_decay = k_decay;
    return refusal(config, "saes.0");
  };
  EXPECT_EQ(refused(16, 0.5), "");
  EXPECT_EQ(refused(64, 1), "");
  EXPECT_EQ(refused(4, 0.1),
            "saes.0.k_start is 4; expected a number above k 4 and at most d_sae 64, or 0 (off).");
  EXPECT_NE(refused(65, 0.1).find("saes.0.k_start is 65"), std::string::npos);
  EXPECT_NE(refused(16, 0).find("saes.0.k_decay is 0;"), std::string::npos);
  EXPECT_EQ(
      refused(0, 0.5),
      "saes.0.k_decay is 0.5, but no k_start falls to k. Give one, e.g. 16, or leave it out.");
  SaeConfig relu = testing_support::as_variant(good(), "relu");
  relu.k_start = 16;
  EXPECT_NE(refusal(relu, "saes.0").find("saes.0.k_start is 16, but variant relu has no such"),
            std::string::npos);

  EXPECT_EQ(refusal(OptimizerConfig{.cosine = true, .floor = 0.1}, "o"), "");
  EXPECT_NE(refusal(OptimizerConfig{.floor = 1}, "o").find("o.floor is 1"), std::string::npos);
  for (const OptimizerConfig& never :
       {OptimizerConfig{.decay = 0, .cosine = true}, OptimizerConfig{.decay = 0, .floor = 0.1}})
    EXPECT_NE(refusal(never, "o").find("but decay is 0, so the rate never falls"),
              std::string::npos);
}

TEST(SaeConfig, refuses_resampling_that_does_nothing_or_what_aux_k_does) {
  const auto refused = [](std::string_view variant, double aux, const ResampleConfig& resample) {
    SaeConfig config = testing_support::as_variant(good(), variant);
    if (variant == "topk") config.aux.coefficient = aux;
    config.resample = resample;
    return refusal(config, "saes.0");
  };
  for (const std::string_view variant : {"relu", "jumprelu", "gated"})
    EXPECT_EQ(refused(variant, 0, {.every_steps = 100, .until = 1, .scale = 0.1}), "");
  EXPECT_EQ(refused("topk", 0, {.every_steps = 100}), "");
  EXPECT_EQ(refused("topk", 0.1, {.every_steps = 100}),
            "saes.0.resample.every_steps is 100, but AuxK revives dead features of this SAE "
            "already. Set aux.coefficient to 0, or leave resample out.");
  EXPECT_NE(refused("relu", 0, {.until = 0.4}).find("every_steps is 0, which switches it off"),
            std::string::npos);
  EXPECT_NE(refused("relu", 0, {.every_steps = 1, .until = 0}), "");
  EXPECT_NE(refused("relu", 0, {.every_steps = 1, .scale = 0}), "");
}

TEST(SaeConfig, refuses_penalties_that_say_nothing_or_too_much) {
  const auto refused = [](std::string_view variant, const PenaltyConfig& penalty) {
    SaeConfig config = testing_support::as_variant(good(), variant);
    config.penalty = penalty;
    return refusal(config, "saes.0");
  };
  EXPECT_NE(refused("topk", {.coefficient = 4}).find("gives numbers, but no kind"),
            std::string::npos);
  EXPECT_NE(refused("topk", {.kind = "l3"}).find("known kinds: auto, none, l1"), std::string::npos);
  EXPECT_NE(refused("topk", {.kind = "l0"}).find("variant topk trains none"), std::string::npos);
  EXPECT_NE(refused("relu", {.kind = "kl"}).find("kl needs the firing rate"), std::string::npos);
  EXPECT_NE(refused("relu", {.kind = "kl", .target = 1}), "");
  EXPECT_NE(refused("relu", {.kind = "l1", .target = 0.1}).find("kind l1 has no such setting"),
            std::string::npos);
  EXPECT_NE(refused("relu", {.kind = "l1", .steepness = 2}), "");
  EXPECT_NE(refused("relu", {.kind = "l1", .coefficient = 0}), "");
  EXPECT_NE(refused("relu", {.kind = "l1", .coefficient = -1}), "");
  EXPECT_NE(refused("jumprelu", {.kind = "l0", .target = 1e9}), "");
  EXPECT_NE(refused("jumprelu", {.kind = "none"}).find("e.g. penalty: {kind: l0"),
            std::string::npos);
  EXPECT_NE(refused("gated", {}).find("e.g. penalty: {kind: l1"), std::string::npos);
  for (const char* kind : {"l1", "tanh"}) EXPECT_EQ(refused("topk", {.kind = kind}), "") << kind;
  EXPECT_EQ(refused("topk", {.kind = "kl", .target = 0.1}), "");
  EXPECT_EQ(refused("jumprelu", {.kind = "l0", .target = 3}), "");
}

TEST(SaeConfig, refuses_prefixes_that_do_not_ascend_below_the_dictionary) {
  for (const std::vector<std::string>& prefixes :
       {std::vector<std::string>{"0"}, {"4", "4"}, {"5", "3"}, {"100000"}, {"half"}, {"-3"}}) {
    SaeConfig config = testing_support::as_variant(good(), "matryoshka");
    config.prefixes = prefixes;
    EXPECT_NE(refusal(config, "saes.0").find("saes.0.prefixes holds"), std::string::npos);
  }
}

TEST(VariantTable, makes_every_variant_it_names) {
  for (const std::string_view name : variant_names()) {
    EXPECT_EQ(make_variant(testing_support::as_variant(good(), name), 16, 100)->name(), name);
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
