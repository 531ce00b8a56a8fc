// What the folders of the families may say, and what is refused by name: edits of the small models
// in tests/data/models.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/lm/language_model.hpp"
#include "refract/store/safetensors.hpp"
#include "unit/store/scratch_folder.hpp"

namespace refract {
namespace {

using nlohmann::json;

struct Stored {
  std::vector<std::size_t> shape;
  std::vector<float> values;
};
using Tensors = std::map<std::string, Stored>;

class FamilyFolder : public ::testing::Test {
 protected:
  void write(const std::string& model, const json& config_patch,
             const std::function<void(Tensors&)>& edit = {}) const {
    const fs::path from = fs::path(REFRACT_SOURCE_DIR) / "tests/data/models" / model;
    json config = json::parse(read_file(from / "config.json"));
    config.update(config_patch);
    write_file(scratch_ / "config.json", config.dump());
    fs::copy_file(from / "model.safetensors", scratch_ / "model.safetensors",
                  fs::copy_options::overwrite_existing);
    if (!edit) return;
    Tensors tensors;
    {
      const SafetensorsFile file(from / "model.safetensors");
      for (const StoredTensor& tensor : file.tensors())
        tensors[tensor.name] = {tensor.shape, read_f32(tensor)};
    }
    edit(tensors);
    std::vector<StoredTensor> out;
    for (const auto& [name, stored] : tensors)
      out.push_back(
          stored_tensor(name, DType::f32, stored.shape, std::span<const float>(stored.values)));
    write_safetensors(scratch_ / "model.safetensors", out, {});
  }

  std::string refusal(const std::string& model, const json& config_patch,
                      const std::function<void(Tensors&)>& edit = {}) const {
    write(model, config_patch, edit);
    try {
      check_language_model(scratch_.path(), {});
    } catch (const DataError& error) {
      return error.what();
    }
    return "nothing was refused";
  }

  // The stream behind the last block of two tokens.
  std::vector<float> output() const {
    const auto model = load_language_model(scratch_.path());
    const std::vector<std::uint32_t> ids{5, 9}, positions{0, 1}, starts{0, 2};
    Tensor<float> normed({2, model->info().d_model});
    Stream stream;
    struct : Tap {
      void at(HookPoint, TensorView<float>, Stream&) override {}
    } none;
    model->forward_to_unembedding({ids, positions, starts}, none, normed.view(), stream);
    return {normed.span().begin(), normed.span().end()};
  }

  const test::ScratchFolder scratch_;
};

TEST_F(FamilyFolder, names_the_key_that_it_does_not_know) {
  const auto refuses = [this](const char* model, const json& patch, const char* words) {
    const std::string text = refusal(model, patch);
    EXPECT_NE(text.find(words), std::string::npos) << text;
  };
  refuses("llama", {{"hidden_act", "relu"}}, "hidden_act is \"relu\", expected silu");
  refuses("llama", {{"rope_parameters", {{"rope_type", "yarn"}, {"factor", 2.0}}}},
          "rope_parameters.rope_type is \"yarn\", expected default, linear or llama3");
  refuses("llama", {{"rope_scaling", {{"type", "dynamic"}, {"factor", 2.0}}}},
          "rope_scaling.type is \"dynamic\"");
  refuses("llama", {{"partial_rotary_factor", 0.5}}, "partial_rotary_factor is 0.5");
  refuses("llama3", {{"rope_parameters", {{"rope_type", "llama3"}, {"factor", 8.0}}}},
          "rope_parameters.low_freq_factor is absent");
  refuses("llama3", {{"num_key_value_heads", 3}},
          "num_key_value_heads is 3, which does not divide");
  refuses("qwen3", {{"head_dim", 13}}, "head_dim is 13, expected an even number");
  refuses("qwen2", {{"layer_types", {"sliding_attention"}}}, "layer_types");
  refuses("gemma2", {{"layer_types", {"full_attention", "chunked_attention"}}}, "layer_types");
  refuses("gemma3", {{"attn_logit_softcapping", 50.0}}, "attn_logit_softcapping is 50.0");
  refuses("gemma3", {{"use_bidirectional_attention", true}}, "use_bidirectional_attention is true");
  refuses("gemma3", {{"rope_parameters", {{"rope_type", "default"}}}},
          "rope_parameters is {\"rope_type\":\"default\"}, expected a section for each kind");
  refuses("gpt_neox", {{"rotary_pct", 0.0}, {"rope_parameters", nullptr}}, "rotary_pct");
  refuses("gpt_neox", {{"hidden_act", "relu"}}, "hidden_act is \"relu\"");
  refuses("gpt_neo", {{"attention_layers", {"global", "ring", "local", "local"}}},
          "expected global or local");
  refuses("gpt_neo", {{"attention_layers", {"global"}}}, "expected one kind for each of");
  refuses("llama", {{"model_type", "mamba"}}, "mamba");
}

TEST_F(FamilyFolder, names_the_tensor_that_is_missing_strange_or_of_another_shape) {
  const auto refuses = [this](const char* model, const std::function<void(Tensors&)>& edit,
                              const char* words) {
    const std::string text = refusal(model, json::object(), edit);
    EXPECT_NE(text.find(words), std::string::npos) << text;
  };
  refuses(
      "llama", [](Tensors& t) { t.erase("model.layers.1.mlp.up_proj.weight"); },
      "model.layers.1.mlp.up_proj.weight");
  refuses(
      "llama", [](Tensors& t) { t.erase("lm_head.weight"); }, "lm_head.weight");
  refuses(
      "llama",
      [](Tensors& t) {
        t["model.layers.0.self_attn.q_norm.weight"] = {{8}, std::vector<float>(8)};
      },
      "model.layers.0.self_attn.q_norm.weight' is not part of a llama model");
  refuses(
      "qwen2", [](Tensors& t) { t.erase("model.layers.0.self_attn.q_proj.bias"); },
      "model.layers.0.self_attn.q_proj.bias");
  refuses(
      "gemma3",
      [](Tensors& t) {
        t["model.layers.0.self_attn.k_norm.weight"] = {{2}, {1, 1}};
      },
      "model.layers.0.self_attn.k_norm.weight");
  refuses(
      "gpt_neox",
      [](Tensors& t) {
        t["gpt_neox.layers.9.attention.dense.bias"] = {{4}, std::vector<float>(4)};
      },
      "gpt_neox.layers.9.attention.dense.bias");
}

// GPT-2's names in a folder that says llama, as of a conversion that went wrong.
TEST_F(FamilyFolder, refuses_the_weights_of_another_family) {
  write("gpt_neo", {{"model_type", "llama"}, {"num_hidden_layers", 4}, {"num_attention_heads", 4}});
  EXPECT_THROW(check_language_model(scratch_.path(), {}), DataError);
}

TEST_F(FamilyFolder, takes_a_tied_table_under_the_heads_name_and_decoders_without_their_prefix) {
  write("smollm2", json::object());
  const std::vector<float> expected = output();
  write("smollm2", json::object(), [](Tensors& t) {
    t["lm_head.weight"] = t.at("model.embed_tokens.weight");
    t.erase("model.embed_tokens.weight");
  });
  EXPECT_EQ(output(), expected);
  for (const std::string prefix : {"", "language_model.model.", "model.language_model."}) {
    write("smollm2", json::object(), [&prefix](Tensors& t) {
      Tensors renamed;
      for (auto& [name, stored] : t)
        renamed[name.starts_with("model.") ? prefix + name.substr(6) : name] = std::move(stored);
      t = std::move(renamed);
    });
    EXPECT_EQ(output(), expected) << prefix;
  }
}

TEST_F(FamilyFolder, skips_tables_and_masks_that_old_exports_hold) {
  write("llama", json::object());
  const std::vector<float> expected = output();
  write("llama", json::object(), [](Tensors& t) {
    t["model.layers.0.self_attn.rotary_emb.inv_freq"] = {{4}, {1, 2, 3, 4}};
  });
  EXPECT_EQ(output(), expected);
}

// Gemma's folders are bf16: there the scale of the embedding is rounded as transformers rounds it.
TEST_F(FamilyFolder, rounds_the_scale_of_a_bf16_embedding) {
  write("gemma2", json::object());
  const auto first = [this] {
    const auto model = load_language_model(scratch_.path());
    const std::vector<std::uint32_t> ids{5}, positions{0}, starts{0, 1};
    struct : Tap {
      void at(HookPoint hook, TensorView<float> values, Stream&) override {
        if (hook == HookPoint{0, Site::resid_pre}) seen = values.data()[0];
      }
      float seen = 0;
    } tap;
    Stream stream;
    model->forward({ids, positions, starts}, 0, tap, stream);
    return std::pair(tap.seen, std::sqrt(static_cast<float>(model->info().d_model)));
  };
  const auto [exact, scale] = first();
  Tensors tensors;
  {
    const SafetensorsFile file(scratch_ / "model.safetensors");
    for (const StoredTensor& tensor : file.tensors())
      tensors[tensor.name] = {tensor.shape, read_f32(tensor)};
  }
  std::vector<std::vector<BFloat16>> halves;
  std::vector<StoredTensor> out;
  for (const auto& [name, stored] : tensors) {
    auto& half = halves.emplace_back(stored.values.size());
    to_bf16(stored.values, half);
  }
  std::size_t at = 0;
  for (const auto& [name, stored] : tensors)
    out.push_back(
        stored_tensor(name, DType::bf16, stored.shape, std::span<const BFloat16>(halves[at++])));
  write_safetensors(scratch_ / "model.safetensors", out, {});
  const float table = exact / scale;
  EXPECT_FLOAT_EQ(first().first, to_float(to_bf16(table)) * to_float(to_bf16(scale)));
}

}  // namespace
}  // namespace refract
