#include "refract/lm/hook_point.hpp"

#include <gtest/gtest.h>

#include "refract/base/error.hpp"
#include "refract/lm/language_model.hpp"

namespace refract {
namespace {

TEST(HookPoint, prints_and_parses_as_transformer_lens_names_it) {
  for (const Site site : {Site::resid_pre, Site::resid_mid, Site::resid_post, Site::attn_out,
                          Site::ln2_normalized, Site::mlp_out}) {
    for (const int layer : {0, 4, 11, 123}) {
      EXPECT_EQ(parse_hook_point(name({layer, site})), (HookPoint{layer, site}));
    }
  }
  EXPECT_EQ(name({3, Site::resid_post}), "blocks.3.hook_resid_post");
  EXPECT_EQ(name({3, Site::ln2_normalized}), "blocks.3.ln2.hook_normalized");
}

TEST(HookPoint, may_be_told_by_the_depth_of_the_model) {
  EXPECT_EQ(resolve_hook_point("last", 12), "blocks.11.hook_resid_post");
  EXPECT_EQ(resolve_hook_point("blocks.-1.hook_mlp_out", 12), "blocks.11.hook_mlp_out");
  EXPECT_EQ(resolve_hook_point("blocks.-12.hook_resid_pre", 12), "blocks.0.hook_resid_pre");
  EXPECT_EQ(resolve_hook_point("blocks.50%.hook_resid_post", 12), "blocks.6.hook_resid_post");
  EXPECT_EQ(resolve_hook_point("blocks.0%.ln2.hook_normalized", 12),
            "blocks.0.ln2.hook_normalized");
  EXPECT_EQ(resolve_hook_point("blocks.100%.hook_resid_post", 12), "blocks.11.hook_resid_post");
  EXPECT_EQ(resolve_hook_point("blocks.33%.hook_resid_post", 6), "blocks.1.hook_resid_post");
  EXPECT_EQ(resolve_hook_point("blocks.4.hook_resid_post", 3), "blocks.4.hook_resid_post");
  for (const char* text :
       {"blocks.-13.hook_resid_post", "blocks.-x.hook_resid_post", "blocks.101%.hook_resid_post",
        "blocks.-5%.hook_resid_post", "blocks.%.hook_resid_post", "blocks.1.5%.hook_resid_post"})
    EXPECT_THROW((void)parse_hook_point(resolve_hook_point(text, 12)), ConfigError) << text;
}

// Within a block: gpt2_forward_test.
TEST(HookPoint, of_an_earlier_layer_comes_before_one_of_a_later) {
  EXPECT_TRUE(comes_before({0, Site::resid_post}, {1, Site::resid_pre}));
  EXPECT_FALSE(comes_before({1, Site::resid_pre}, {0, Site::resid_post}));
  EXPECT_FALSE(comes_before({1, Site::mlp_out}, {1, Site::mlp_out}));
}

TEST(HookPoint, is_what_a_module_of_transformers_puts_out) {
  const auto module = [](const char* hook) {
    return hugging_face_module("gpt2", parse_hook_point(hook));
  };

  EXPECT_EQ(module("blocks.4.hook_resid_post"), "transformer.h.4");
  EXPECT_EQ(module("blocks.4.hook_resid_pre"), "transformer.h.3");
  EXPECT_EQ(module("blocks.0.hook_resid_pre"), "transformer.drop");
  EXPECT_EQ(module("blocks.4.hook_attn_out"), "transformer.h.4.attn");
  EXPECT_EQ(module("blocks.4.ln2.hook_normalized"), "transformer.h.4.ln_2");
  EXPECT_EQ(module("blocks.4.hook_mlp_out"), "transformer.h.4.mlp");
  EXPECT_EQ(module("blocks.4.hook_resid_mid"), "");
  EXPECT_EQ(hugging_face_module("none", {0, Site::resid_post}), "");
}

TEST(HookPoint, refuses_other_text_naming_the_allowed_forms) {
  for (const char* text :
       {"", "blocks.", "blocks.3", "blocks.-1.hook_resid_post", "blocks.03.hook_resid_post",
        "blocks.3.hook_z", "blocks.3.ln2", "blocks.3.ln1.hook_normalized",
        "blocks.3.hook_resid_post ", "blocks.x.hook_resid_post", "block.3.hook_resid_post",
        "blocks.99999999999.hook_resid_post"}) {
    try {
      (void)parse_hook_point(text);
      ADD_FAILURE() << "accepted '" << text << "'";
    } catch (const ConfigError& error) {
      const std::string said = error.what();
      EXPECT_NE(said.find("blocks.4.hook_resid_post"), std::string::npos) << said;
      EXPECT_NE(said.find("hook_attn_out, ln2.hook_normalized, hook_mlp_out"), std::string::npos)
          << said;
    }
  }
}

}  // namespace
}  // namespace refract
