// Opening model folders: the forms a checkpoint may have, and what is refused.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "lm/arch_table.hpp"
#include "refract/base/error.hpp"
#include "refract/lm/language_model.hpp"
#include "support/tiny_gpt2.hpp"

namespace refract {
namespace {

using test::TinyGpt2;
using Tensors = std::map<std::string, TinyGpt2::Values>;

class ModelFolder : public testing::Test {
 protected:
  std::vector<float> residual_of(const TinyGpt2& tiny, const std::string& name) {
    const auto folder = base_ / name;
    std::filesystem::remove_all(folder);
    tiny.write(folder);
    return residual(*load_language_model(folder));
  }

  std::vector<float> residual(const LanguageModel& model) {
    class Last final : public Tap {
     public:
      void at(HookPoint, TensorView<float> values, Stream&) override {
        seen.assign(values.span().begin(), values.span().end());
      }
      std::vector<float> seen;
    } last;
    const std::vector<std::uint32_t> ids{3, 1, 4, 1, 5}, positions{0, 1, 2, 3, 4}, starts{0, 5};
    std::vector<float> nll(5);
    model.next_token_nll({ids, positions, starts}, last, nll, stream_);
    last.seen.insert(last.seen.end(), nll.begin(), nll.end() - 1);
    return last.seen;
  }

  // The message of the error that loading throws.
  template <typename Kind>
  std::string refusal(const TinyGpt2& tiny) {
    const auto folder = base_ / "refused";
    std::filesystem::remove_all(folder);
    tiny.write(folder);
    const auto said = [](const auto& open) -> std::string {
      try {
        open();
      } catch (const Kind& error) {
        return error.what();
      }
      return "accepted";
    };
    const std::string loading = said([&] { (void)load_language_model(folder); });
    // Values are seen only by reading them.
    if constexpr (!std::is_same_v<Kind, NumericalError>) {
      EXPECT_EQ(said([&] { check_language_model(folder, {}); }), loading)
          << "what is seen without loading differs";
    }
    return loading;
  }

  std::filesystem::path base_ = std::filesystem::path(testing::TempDir()) /
                                (std::string("refract_folder_") +
                                 testing::UnitTest::GetInstance()->current_test_info()->name());
  Stream stream_;
};

TEST_F(ModelFolder, is_seen_to_lack_any_tensor_or_shape_without_loading_it) {
  std::vector<std::string> names;
  TinyGpt2 tiny;
  tiny.edit = [&](Tensors& tensors) {
    for (const auto& [name, values] : tensors) names.push_back(name);
  };
  EXPECT_EQ(refusal<DataError>(tiny), "accepted");
  ASSERT_EQ(names.size(), 2u + 3 * 12 + 2);

  for (const std::string& name : names) {
    tiny.edit = [&](Tensors& tensors) { tensors.erase(name); };
    EXPECT_NE(refusal<DataError>(tiny).find(name), std::string::npos) << name;
    tiny.edit = [&](Tensors& tensors) {
      tensors[name].shape.front() += 1;
      tensors[name].data.resize(tensors[name].data.size() / (tensors[name].shape.front() - 1) *
                                tensors[name].shape.front());
    };
    EXPECT_NE(refusal<DataError>(tiny).find(name), std::string::npos) << name;
  }
}

TEST_F(ModelFolder, is_seen_to_lack_a_hook_point_or_half_its_weights_without_loading_it) {
  TinyGpt2{}.write(base_);
  const auto check = [&](HookPoint hook) { check_language_model(base_, std::span(&hook, 1)); };
  EXPECT_NO_THROW(check({2, Site::mlp_out}));
  EXPECT_THROW(check({3, Site::resid_post}), ConfigError);
  const auto weights = base_ / "model.safetensors";
  std::filesystem::resize_file(weights, std::filesystem::file_size(weights) / 2);
  EXPECT_THROW(check({0, Site::resid_post}), DataError);
}

TEST_F(ModelFolder, may_name_tensors_with_and_without_the_transformer_prefix) {
  TinyGpt2 prefixed;
  prefixed.prefix = "transformer.";

  EXPECT_EQ(residual_of({}, "plain"), residual_of(prefixed, "prefixed"));
}

TEST_F(ModelFolder, may_hold_its_weights_in_shards) {
  TinyGpt2 sharded;
  sharded.shards = 3;

  EXPECT_EQ(residual_of({}, "one"), residual_of(sharded, "sharded"));
}

TEST_F(ModelFolder, may_hold_causal_masks_which_are_skipped) {
  TinyGpt2 masks;
  masks.edit = [](Tensors& tensors) {
    tensors["h.0.attn.bias"] = {{1, 1, 4, 4}, std::vector<float>(16, 1.0F)};
    tensors["h.1.attn.masked_bias"] = {{}, {-1e4F}};
  };

  EXPECT_EQ(residual_of({}, "plain"), residual_of(masks, "masks"));
}

TEST_F(ModelFolder, may_hold_the_tied_table_only_as_the_head) {
  TinyGpt2 head_only;
  head_only.edit = [](Tensors& tensors) {
    auto node = tensors.extract("wte.weight");
    node.key() = "lm_head.weight";
    tensors.insert(std::move(node));
  };

  EXPECT_EQ(residual_of({}, "plain"), residual_of(head_only, "head_only"));
}

TEST_F(ModelFolder, uses_a_head_of_its_own_when_it_is_not_tied) {
  TinyGpt2 untied;
  untied.config_changes = {{"tie_word_embeddings", false}};
  EXPECT_NE(refusal<DataError>(untied).find("lm_head.weight"), std::string::npos);
  untied.edit = [](Tensors& tensors) {
    tensors["lm_head.weight"] = tensors["wte.weight"];
    for (float& value : tensors["lm_head.weight"].data) value *= 2;
  };

  EXPECT_NE(residual_of({}, "tied"), residual_of(untied, "untied"));
}

TEST_F(ModelFolder, lists_the_files_that_make_the_model_what_it_is) {
  TinyGpt2{}.write(base_ / "a");

  EXPECT_EQ(model_files(base_ / "a"), (std::vector<fs::path>{base_ / "a" / "config.json",
                                                             base_ / "a" / "model.safetensors"}));
}

TEST_F(ModelFolder, info_tells_the_sizes_from_config_alone) {
  TinyGpt2{}.write(base_);
  std::filesystem::remove(base_ / "model.safetensors");

  const auto info = read_model_info(base_);

  EXPECT_EQ(info.family, "gpt2");
  EXPECT_EQ(info.layers, 3U);
  EXPECT_EQ(info.d_model, 24U);
  EXPECT_EQ(info.vocab, 50U);
  EXPECT_EQ(info.max_positions, 160U);
  EXPECT_EQ(info.bos_id, 49);
  // tables + blocks + final norm, as the tiny model writes them
  EXPECT_EQ(info.parameter_bytes,
            4U * (50 * 24 + 160 * 24 +
                  3 * (4 * 24 + 24 * 72 + 72 + 24 * 24 + 24 + 24 * 40 + 40 + 40 * 24 + 24) + 48));
}

TEST_F(ModelFolder, reads_the_common_names_that_transformers_reads) {
  TinyGpt2 common;
  for (const auto& [own, name] : {std::pair{"n_head", "num_attention_heads"},
                                  {"n_layer", "num_hidden_layers"},
                                  {"n_embd", "hidden_size"},
                                  {"n_positions", "max_position_embeddings"}})
    common.config_changes[own] = nullptr;
  common.config_changes.update({{"num_attention_heads", 3},
                                {"num_hidden_layers", 3},
                                {"hidden_size", 24},
                                {"max_position_embeddings", 160}});
  EXPECT_EQ(residual_of({}, "own"), residual_of(common, "common"));

  common.config_changes["num_attention_heads"] = 5;
  EXPECT_NE(refusal<DataError>(common).find(
                "num_attention_heads is 5, which does not divide hidden_size 24"),
            std::string::npos)
      << refusal<DataError>(common);
  TinyGpt2 both;
  both.config_changes = {{"num_attention_heads", 4}};
  EXPECT_NE(refusal<DataError>(both).find("n_head is 3, but num_attention_heads is 4"),
            std::string::npos)
      << refusal<DataError>(both);
  both.config_changes = {{"num_attention_heads", 3}};
  EXPECT_EQ(refusal<DataError>(both), "accepted");
}

TEST_F(ModelFolder, refuses_a_weight_that_is_not_finite_naming_its_place) {
  for (const float bad : {std::numeric_limits<float>::infinity(), -std::nanf("")}) {
    TinyGpt2 tiny;
    tiny.edit = [&](Tensors& tensors) { tensors["wte.weight"].data[3 * 24 + 5] = bad; };
    EXPECT_NE(refusal<NumericalError>(tiny).find("tensor 'wte.weight' is "), std::string::npos);
    EXPECT_NE(refusal<NumericalError>(tiny).find("at row 3, column 5"), std::string::npos);
    EXPECT_NE(refusal<NumericalError>(tiny).find("model.safetensors"), std::string::npos);
    tiny.edit = [&](Tensors& tensors) { tensors["h.1.mlp.c_fc.bias"].data[9] = bad; };
    EXPECT_NE(refusal<NumericalError>(tiny).find("'h.1.mlp.c_fc.bias'"), std::string::npos);
    EXPECT_NE(refusal<NumericalError>(tiny).find("at row 0, column 9"), std::string::npos);
    // What the model does not use is not looked at.
    tiny.edit = [&](Tensors& tensors) { tensors["h.1.attn.masked_bias"] = {{}, {bad}}; };
    EXPECT_EQ(refusal<NumericalError>(tiny), "accepted");
  }
}

TEST_F(ModelFolder, refuses_what_it_would_compute_wrongly_naming_the_field) {
  const auto with = [](const char* key, nlohmann::json value) {
    TinyGpt2 tiny;
    tiny.config_changes = {{key, std::move(value)}};
    return tiny;
  };

  EXPECT_NE(refusal<DataError>(with("activation_function", "relu"))
                .find("activation_function is \"relu\""),
            std::string::npos);
  EXPECT_NE(refusal<DataError>(with("model_type", "bert")).find("gpt2"), std::string::npos);
  EXPECT_NE(refusal<DataError>(with("n_head", 5)).find("n_head is 5"), std::string::npos);
  EXPECT_NE(refusal<DataError>(with("n_layer", -1)).find("n_layer is -1"), std::string::npos);
  EXPECT_NE(refusal<DataError>(with("n_embd", 48)).find("shape"), std::string::npos);
  EXPECT_NE(refusal<DataError>(with("n_layer", 4)).find("h.3.ln_1.weight"), std::string::npos);
  EXPECT_NE(refusal<DataError>(with("n_layer", 2)).find("h.2."), std::string::npos);
  EXPECT_NE(refusal<DataError>(with("add_cross_attention", true)).find("add_cross_attention"),
            std::string::npos);
}

TEST_F(ModelFolder, refuses_a_folder_without_config_weights_or_a_tensor) {
  TinyGpt2 tiny;
  tiny.edit = [](Tensors& tensors) { tensors.erase("h.1.mlp.c_fc.bias"); };
  EXPECT_NE(refusal<DataError>(tiny).find("h.1.mlp.c_fc.bias"), std::string::npos);
  tiny.edit = [](Tensors& tensors) {
    tensors["h.1.attn.q_norm.weight"] = {{4}, std::vector<float>(4)};
  };
  EXPECT_NE(refusal<DataError>(tiny).find("q_norm"), std::string::npos);

  EXPECT_THROW((void)load_language_model(base_ / "nowhere"), DataError);
  TinyGpt2{}.write(base_);
  std::filesystem::remove(base_ / "model.safetensors");
  EXPECT_THROW((void)load_language_model(base_), DataError);
  write_file(base_ / "config.json", "[1, 2");
  EXPECT_THROW((void)load_language_model(base_), DataError);
}

}  // namespace
}  // namespace refract
