// The demo model against Hugging Face transformers in fp64: tests/data/gpt2_golden.safetensors,
// written by tests/data/make_gpt2_golden.py from a sentence of text.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "refract/lm/language_model.hpp"
#include "refract/ops/token_kl.hpp"
#include "refract/store/safetensors.hpp"

namespace refract {
namespace {

class Recorder final : public Tap {
 public:
  void at(HookPoint hook, TensorView<float> values, Stream&) override {
    seen[name(hook)].assign(values.span().begin(), values.span().end());
  }
  std::map<std::string, std::vector<float>> seen;
};

// The demo model, and the text of which others have said what it makes of it.
class Gpt2Golden : public ::testing::Test {
 protected:
  Gpt2Golden() {
    for (const std::uint64_t id : read_u64(golden.at("ids"))) {
      positions.push_back(static_cast<std::uint32_t>(ids.size()));
      ids.push_back(static_cast<std::uint32_t>(id));
    }
    starts = {0, static_cast<std::uint32_t>(ids.size())};
  }
  const std::filesystem::path source = REFRACT_SOURCE_DIR;
  const SafetensorsFile golden{source / "tests/data/gpt2_golden.safetensors"};
  const std::unique_ptr<LanguageModel> model = load_language_model(source / "configs/demo/model");
  std::vector<std::uint32_t> ids, positions, starts;
};

TEST_F(Gpt2Golden, residuals_mlp_inputs_and_nll_of_the_demo_model_equal_transformers) {
  Recorder recorder;
  std::vector<float> nll(ids.size());
  Stream stream;

  model->next_token_nll({ids, positions, starts}, recorder, nll, stream);

  std::size_t compared = 0;
  const std::size_t width = model->info().d_model;
  for (const HookPoint point :
       {HookPoint{0, Site::resid_post}, HookPoint{2, Site::resid_post},
        HookPoint{5, Site::resid_post}, HookPoint{0, Site::ln2_normalized},
        HookPoint{2, Site::ln2_normalized}, HookPoint{5, Site::ln2_normalized}}) {
    const auto hook = name(point);
    const auto expected = read_f32(golden.at(hook, {ids.size(), width}));
    const auto& values = recorder.seen.at(hook);
    double worst = 0;
    for (std::size_t t = 0; t < ids.size(); ++t, ++compared) {
      double difference = 0, norm = 0;
      for (std::size_t i = t * width; i < (t + 1) * width; ++i) {
        difference +=
            std::pow(static_cast<double>(values[i]) - static_cast<double>(expected[i]), 2);
        norm += std::pow(static_cast<double>(expected[i]), 2);
      }
      worst = std::max(worst, std::sqrt(difference / norm));
    }
    EXPECT_LE(worst, std::min(1e-5, 3e-6 * std::sqrt((point.layer + 1) / 2.0))) << hook;
  }
  EXPECT_EQ(compared, 6 * ids.size());
  EXPECT_EQ(ids.size(), 40U);

  const auto expected_nll = read_f32(golden.at("nll"));
  double mean = 0;
  for (std::size_t t = 0; t + 1 < ids.size(); ++t) {
    EXPECT_NEAR(nll[t], expected_nll[t], 3e-5F) << t;
    mean += static_cast<double>(nll[t]) / static_cast<double>(ids.size() - 1);
  }
  // A trained model reads English text far better than chance, log 8192 = 9.0.
  EXPECT_LT(mean, 5.5);
}

// The output of layer 3 set to zero, behind the first token.
class Eraser final : public Tap {
 public:
  void at(HookPoint hook, TensorView<float> values, Stream&) override {
    if (hook == HookPoint{3, Site::resid_post})
      std::ranges::fill(values.rows(1, values.axis(0) - 1).span(), 0.0F);
  }
};

TEST_F(Gpt2Golden, divergence_of_the_demo_model_from_itself_with_a_layer_erased_equals_torch) {
  const PackedTokens tokens{ids, positions, starts};
  Stream stream;
  const auto logits_with = [&](Tap& tap) {
    Tensor<float> normed({ids.size(), model->info().d_model});
    Tensor<float> logits({ids.size(), model->info().vocab});
    model->forward_to_unembedding(tokens, tap, normed.view(), stream);
    model->unembed(normed.cview(), 0, logits.view(), stream);
    return logits;
  };
  Recorder reader;
  Eraser eraser;
  std::vector<float> kl(ids.size());

  token_kl(logits_with(reader).cview(), logits_with(eraser).cview(), kl, stream);

  const auto expected = read_f32(golden.at("kl.blocks.3.erased"));
  ASSERT_EQ(expected.size(), 40U);
  EXPECT_EQ(kl[0], 0.0F);
  for (std::size_t t = 1; t < 40; ++t) EXPECT_NEAR(kl[t], expected[t], 3e-5F * expected[t]) << t;
}

}  // namespace
}  // namespace refract
