// The demo model against Hugging Face transformers in fp64: tests/data/gpt2_golden.safetensors,
// written by tests/data/make_gpt2_golden.py from a sentence of text.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "refract/lm/language_model.hpp"
#include "refract/store/safetensors.hpp"

namespace refract {
namespace {

class Recorder final : public Tap {
 public:
  void at(HookPoint hook, TensorView<float> values) override {
    seen[name(hook)].assign(values.span().begin(), values.span().end());
  }
  std::map<std::string, std::vector<float>> seen;
};

TEST(Gpt2Golden, residuals_and_nll_of_the_demo_model_equal_transformers) {
  const std::filesystem::path source = REFRACT_SOURCE_DIR;
  const SafetensorsFile golden(source / "tests/data/gpt2_golden.safetensors");
  const auto model = load_language_model(source / "configs/demo/model");
  std::vector<std::uint32_t> ids, positions;
  for (const std::uint64_t id : read_u64(golden.at("ids"))) {
    positions.push_back(static_cast<std::uint32_t>(ids.size()));
    ids.push_back(static_cast<std::uint32_t>(id));
  }
  const std::vector<std::uint32_t> starts{0, static_cast<std::uint32_t>(ids.size())};
  Recorder recorder;
  std::vector<float> nll(ids.size());
  Stream stream;

  model->next_token_nll({ids, positions, starts}, recorder, nll, stream);

  std::size_t compared = 0;
  const std::size_t width = model->info().d_model;
  for (const int layer : {0, 2, 5}) {
    const auto hook = name({layer, Site::resid_post});
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
    EXPECT_LE(worst, std::min(1e-5, 3e-6 * std::sqrt((layer + 1) / 2.0))) << hook;
  }
  EXPECT_EQ(compared, 3 * ids.size());
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

}  // namespace
}  // namespace refract
