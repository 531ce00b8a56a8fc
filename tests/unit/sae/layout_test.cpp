#include "refract/sae/layout.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/sae/saelens.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kDim = 3, kFeatures = 4;

Tensor<float> numbers(Shape shape, float from) {
  Tensor<float> values(shape);
  for (float& value : values.span()) value = (from += 0.25F);
  return values;
}

// A SAELens folder of some architecture, with numbers that tell its tensors apart.
class Layouts : public ::testing::Test {
 protected:
  Layouts() : root_(fs::path(::testing::TempDir()) / "layouts") {
    remove_all_quietly(root_);
    make_folder(root_ / "saelens");
    make_folder(root_ / "out");
  }
  ~Layouts() override { remove_all_quietly(root_); }

  // Vectors [F] beside W_enc, W_dec and b_dec.
  [[nodiscard]] ExportedSae sae(const std::string& architecture,
                                const std::vector<std::pair<std::string, Tensor<float>>>& vectors,
                                const Json& metadata = Json::object(),
                                const std::map<std::string, std::string>& json_values = {}) {
    SaeExport out{.architecture = architecture,
                  .d_in = kDim,
                  .d_sae = kFeatures,
                  .json_values = json_values,
                  .tensors = {{"W_enc", TensorRole::encoder, W_enc_.cview()},
                              {"W_dec", TensorRole::decoder, W_dec_.cview()},
                              {"b_dec", TensorRole::decoder_bias, b_dec_.cview()}}};
    for (const auto& [name, values] : vectors)  // nothing is folded
      out.tensors.push_back({name, TensorRole::encoder_bias, values.cview()});
    std::map<std::string, std::string> texts;
    for (const auto& [key, value] : metadata.items()) texts[key] = value.dump();
    for (const WrittenFile& file : write_saelens_folder(root_ / "saelens", out, DType::f32, texts))
      settle(file);
    return read_exported_sae(root_ / "saelens");
  }
  [[nodiscard]] ExportedSae with_bias(const std::string& architecture, const Json& metadata,
                                      const std::map<std::string, std::string>& values = {}) {
    std::vector<std::pair<std::string, Tensor<float>>> vectors;
    vectors.emplace_back("b_enc", numbers({kFeatures}, 30));
    if (architecture == "jumprelu") {
      Tensor<float> threshold(Shape{kFeatures});
      for (float& value : threshold.span()) value = 0.5F;
      vectors.emplace_back("threshold", std::move(threshold));
    }
    return sae(architecture, vectors, metadata, values);
  }
  void write(std::string_view word, const ExportedSae& sae, DType dtype = DType::f32) {
    for (const WrittenFile& file : layout_for(word, sae, dtype).write(root_ / "out", sae, dtype))
      settle(file);
  }
  [[nodiscard]] Json config(const char* file) const {
    return Json::parse(read_file(root_ / "out" / file));
  }
  // The entry of ae.pt that holds these values, by its bytes.
  [[nodiscard]] bool torch_file_holds(std::span<const float> values) const {
    const std::string bytes(reinterpret_cast<const char*>(values.data()), values.size_bytes());
    return read_file(root_ / "out" / "ae.pt").find(bytes) != std::string::npos;
  }
  [[nodiscard]] static std::string failure(std::string_view word, const ExportedSae& sae,
                                           DType dtype = DType::f32) {
    try {
      (void)layout_for(word, sae, dtype);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path root_;
  Tensor<float> W_enc_ = numbers({kFeatures, kDim}, 0), W_dec_ = numbers({kFeatures, kDim}, 10),
                b_dec_ = numbers({kDim}, 20);
};

TEST_F(Layouts, of_sparsify_are_feature_major) {
  const ExportedSae topk = with_bias(
      "topk", {{"hf_hook_name", "transformer.h.4"}, {"hook_name", "blocks.4.hook_resid_post"}},
      {{"k", "2"}});

  write("sparsify", topk);

  EXPECT_EQ(layout_for("sparsify", topk, DType::f32).folder(topk), "h.4");
  const SafetensorsFile file(root_ / "out" / "sae.safetensors");
  EXPECT_EQ(file.tensors().size(), 4U);
  const auto expect = [&](const char* name, const std::vector<std::size_t>& shape,
                          std::span<const float> values) {
    EXPECT_EQ(read_f32(file.at(name, shape)), std::vector<float>(values.begin(), values.end()))
        << name;
  };
  expect("encoder.weight", {kFeatures, kDim}, W_enc_.span());
  expect("W_dec", {kFeatures, kDim}, W_dec_.span());
  expect("b_dec", {kDim}, b_dec_.span());
  expect("encoder.bias", {kFeatures}, topk.at("b_enc").span());
  const Json cfg = config("cfg.json");
  EXPECT_EQ(cfg["num_latents"], kFeatures);
  EXPECT_EQ(cfg["k"], 2);
  EXPECT_EQ(cfg["d_in"], kDim);
  EXPECT_EQ(cfg["activation"], "topk");
  EXPECT_EQ(cfg["transcode"], false);
}

TEST_F(Layouts, of_sparsify_may_be_bf16) {
  write("sparsify", with_bias("topk", {}, {{"k", "2"}}), DType::bf16);

  EXPECT_EQ(SafetensorsFile(root_ / "out" / "sae.safetensors").at("b_dec").dtype, "BF16");
}

TEST_F(Layouts, of_what_no_module_puts_out_have_the_hook_points_name) {
  const ExportedSae topk =
      with_bias("topk", {{"hook_name", "blocks.4.hook_resid_mid"}}, {{"k", "2"}});

  EXPECT_EQ(layout_for("sparsify", topk, DType::f32).folder(topk), "blocks.4.hook_resid_mid");
}

TEST_F(Layouts, of_dictionary_learning_turn_both_matrices_for_a_linear_layer) {
  const ExportedSae topk = with_bias(
      "topk",
      {{"hook_name", "blocks.4.hook_resid_post"}, {"model_name", "gpt2"}, {"context_size", 128}},
      {{"k", "2"}});

  write("dictionary_learning", topk);

  EXPECT_EQ(layout_for("dictionary_learning", topk, DType::f32).folder(topk), "trainer_0");
  EXPECT_TRUE(torch_file_holds(W_enc_.span()));
  std::vector<float> turned;
  for (std::size_t d = 0; d < kDim; ++d)
    for (std::size_t f = 0; f < kFeatures; ++f) turned.push_back(W_dec_.row(f)[d]);
  EXPECT_TRUE(torch_file_holds(turned));
  const Json found = config("config.json");
  EXPECT_EQ(found["trainer"]["dict_class"], "AutoEncoderTopK");
  EXPECT_EQ(found["trainer"]["k"], 2);
  EXPECT_EQ(found["trainer"]["layer"], 4);
  EXPECT_EQ(found["trainer"]["lm_name"], "gpt2");
  EXPECT_EQ(found["trainer"]["submodule_name"], "resid_post_layer_4");
  EXPECT_EQ(found["buffer"]["ctx_len"], 128);
}

TEST_F(Layouts, know_a_jumprelu_by_how_it_was_trained) {
  const auto kind = [&](const Json& metadata) { return with_bias("jumprelu", metadata).kind; };

  EXPECT_EQ(kind(Json::object()), "jumprelu");
  EXPECT_EQ(kind({{"training_architecture", "jumprelu"}}), "jumprelu");
  EXPECT_EQ(kind({{"training_architecture", "batchtopk"}}), "batchtopk");
  EXPECT_EQ(kind({{"training_architecture", "matryoshka_batchtopk"}}), "matryoshka");
}

TEST_F(Layouts, fold_b_dec_for_an_encoder_that_does_not_subtract_it) {
  const ExportedSae jumprelu = with_bias("jumprelu", Json::object());

  write("dictionary_learning", jumprelu);

  std::vector<float> folded;
  for (std::size_t f = 0; f < kFeatures; ++f) {
    double bias = double(jumprelu.at("b_enc").data()[f]);
    for (std::size_t d = 0; d < kDim; ++d)
      bias -= double(b_dec_.data()[d]) * double(W_enc_.row(f)[d]);
    folded.push_back(static_cast<float>(bias));
  }
  EXPECT_TRUE(torch_file_holds(folded));
  EXPECT_FALSE(torch_file_holds(jumprelu.at("b_enc").span()));
  EXPECT_EQ(config("config.json")["trainer"]["dict_class"], "JumpReluAutoEncoder");
}

TEST_F(Layouts, of_a_gated_sae_have_its_three_vectors) {
  std::vector<std::pair<std::string, Tensor<float>>> vectors;
  for (const char* name : {"b_gate", "b_mag", "r_mag"})
    vectors.emplace_back(name, numbers({kFeatures}, static_cast<float>(40 + vectors.size())));

  write("dictionary_learning", sae("gated", vectors));

  for (const auto& [name, values] : vectors) EXPECT_TRUE(torch_file_holds(values.span())) << name;
  EXPECT_EQ(config("config.json")["trainer"]["dict_class"], "GatedAutoEncoder");
}

TEST_F(Layouts, of_matryoshka_need_its_prefixes) {
  const auto trained = [](const Json& details) {
    return Json{{"training_architecture", "matryoshka_batchtopk"},
                {"training_architecture_details", details}};
  };

  write("dictionary_learning",
        with_bias("jumprelu", trained({{"k", 2}, {"matryoshka_widths", {1, 4}}})));

  const std::vector<std::int64_t> groups{1, 3};
  const std::string bytes(reinterpret_cast<const char*>(groups.data()), 16);
  EXPECT_NE(read_file(root_ / "out" / "ae.pt").find(bytes), std::string::npos);
  for (const Json& details : {Json{{"k", 2}}, Json{{"k", 2}, {"matryoshka_widths", {1, 3}}},
                              Json{{"k", 2}, {"matryoshka_widths", {4, 2, 4}}}})
    EXPECT_THROW(write("dictionary_learning", with_bias("jumprelu", trained(details))), DataError)
        << details;
}

TEST_F(Layouts, refuse_what_they_cannot_hold_and_name_those_that_can) {
  const ExportedSae batchtopk = with_bias("jumprelu", {{"training_architecture", "batchtopk"}});

  EXPECT_EQ(failure("sparsify", batchtopk),
            "--format sparsify holds topk, and this SAE is batchtopk; what holds it: saelens, "
            "dictionary_learning");
  EXPECT_EQ(failure("dictionary_learning", batchtopk), "no error");
  EXPECT_EQ(failure("saelens", with_bias("abstopk", Json::object())), "no error");
  EXPECT_EQ(failure("onnx", batchtopk),
            "--format is 'onnx'; expected one of saelens, sparsify, dictionary_learning");
  EXPECT_EQ(failure("dictionary_learning", batchtopk, DType::bf16),
            "--dtype is 'bf16'; --format dictionary_learning has fp32 alone");
}

TEST_F(Layouts, refuse_a_damaged_folder_by_name) {
  (void)with_bias("topk", Json::object());
  const fs::path cfg = root_ / "saelens" / "cfg.json";
  const std::string text = read_file(cfg);

  write_file(cfg, "{}");
  EXPECT_THROW((void)read_exported_sae(root_ / "saelens"), DataError);
  Json other = Json::parse(text);
  other["d_sae"] = 5;
  write_file(cfg, other.dump());
  EXPECT_THROW((void)read_exported_sae(root_ / "saelens"), DataError);
  fs::remove(cfg);
  EXPECT_THROW((void)read_exported_sae(root_ / "saelens"), DataError);
}

}  // namespace
}  // namespace refract
