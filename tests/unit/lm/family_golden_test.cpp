// Small seeded models of every family against a plain fp64 reference that is pinned to Hugging Face
// transformers: tests/data/models, written by tests/data/make_family_models.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "lm/arch_table.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/parallel.hpp"
#include "refract/lm/language_model.hpp"
#include "refract/store/safetensors.hpp"
#include "unit/store/scratch_folder.hpp"

namespace refract {
namespace {

const fs::path kModels = fs::path(REFRACT_SOURCE_DIR) / "tests/data/models";

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kModels))
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

class Recorder final : public Tap {
 public:
  void at(HookPoint hook, TensorView<float> values, Stream&) override {
    seen[name(hook)].assign(values.span().begin(), values.span().end());
  }
  std::map<std::string, std::vector<float>> seen;
};

std::vector<std::uint32_t> read_ids(const StoredTensor& stored) {
  std::vector<std::uint32_t> ids;
  for (const std::uint64_t id : read_u64(stored)) ids.push_back(static_cast<std::uint32_t>(id));
  return ids;
}

// The largest relative L2 of a row.
double worst_row(std::span<const float> values, std::span<const float> expected,
                 std::size_t width) {
  EXPECT_EQ(values.size(), expected.size());
  double worst = 0;
  for (std::size_t first = 0; first < expected.size(); first += width) {
    double difference = 0, norm = 0;
    for (std::size_t i = first; i < first + width; ++i) {
      difference += std::pow(double{values[i]} - double{expected[i]}, 2);
      norm += std::pow(double{expected[i]}, 2);
    }
    worst = std::max(worst, std::sqrt(difference / norm));
  }
  return worst;
}

class FamilyGolden : public ::testing::TestWithParam<std::string> {
 protected:
  // Everything that a call puts out, by name.
  static std::map<std::string, std::vector<float>> run(const LanguageModel& model,
                                                       const PackedTokens& tokens) {
    Recorder recorder;
    Stream stream;
    const std::size_t rows = tokens.ids.size();
    Tensor<float> normed({rows, model.info().d_model}), logits({rows, model.info().vocab});
    model.forward_to_unembedding(tokens, recorder, normed.view(), stream);
    model.unembed(normed.cview(), 0, logits.view(), stream);
    recorder.seen["ln_final.hook_normalized"].assign(normed.span().begin(), normed.span().end());
    recorder.seen["logits"].assign(logits.span().begin(), logits.span().end());
    return recorder.seen;
  }
  [[nodiscard]] PackedTokens tokens() const { return {ids, positions, starts}; }

  const fs::path folder = kModels / GetParam();
  const SafetensorsFile golden{folder / "golden.safetensors"};
  const std::unique_ptr<LanguageModel> model = load_language_model(folder);
  const std::vector<std::uint32_t> ids = read_ids(golden.at("ids")),
                                   positions = read_ids(golden.at("positions")),
                                   starts = read_ids(golden.at("segment_starts"));
};

TEST_P(FamilyGolden, is_the_fp64_reference_at_every_hook) {
  const auto seen = run(*model, tokens());
  const std::size_t width = model->info().d_model;
  std::size_t compared = 0;
  for (const StoredTensor& stored : golden.tensors()) {
    if (!stored.name.starts_with("blocks.")) continue;
    const HookPoint hook = parse_hook_point(stored.name);
    ASSERT_TRUE(seen.contains(stored.name)) << stored.name;
    EXPECT_LE(worst_row(seen.at(stored.name), read_f32(stored), width),
              std::min(1e-5, 3e-6 * std::sqrt((hook.layer + 1) / 2.0)))
        << stored.name;
    ++compared;
  }
  EXPECT_GE(compared, 3 * 5 + model->info().layers - 3);
  EXPECT_LE(worst_row(seen.at("ln_final.hook_normalized"),
                      read_f32(golden.at("ln_final.hook_normalized")), width),
            1e-5);
}

TEST_P(FamilyGolden, is_the_fp64_reference_in_logits_and_losses) {
  const auto seen = run(*model, tokens());
  const std::size_t vocab = model->info().vocab, last = starts[starts.size() - 2];
  const std::span<const float> logits(seen.at("logits"));
  EXPECT_LE(worst_row(logits.subspan(last * vocab), read_f32(golden.at("logits")), vocab), 1e-5);

  Recorder ignored;
  std::vector<float> nll(ids.size());
  Stream stream;
  model->next_token_nll(tokens(), ignored, nll, stream);
  const auto expected = read_f32(golden.at("nll"));
  for (std::size_t i = 0; i < nll.size(); ++i) EXPECT_NEAR(nll[i], expected[i], 3e-5F) << i;
}

// transformers 4 wrote other keys for the same model.
TEST_P(FamilyGolden, is_the_same_by_the_configuration_of_the_older_dialect) {
  if (!fs::exists(folder / "config_v4.json")) GTEST_SKIP() << "has one dialect only";
  const test::ScratchFolder scratch;
  fs::copy_file(folder / "config_v4.json", scratch / "config.json");
  fs::copy_file(folder / "model.safetensors", scratch / "model.safetensors");
  const auto older = load_language_model(scratch.path());
  EXPECT_EQ(run(*older, tokens()), run(*model, tokens()));
}

TEST_P(FamilyGolden, gives_a_segment_the_same_bytes_alone_and_packed_and_for_any_threads) {
  const auto packed = run(*model, tokens());
  const int threads = thread_count();
  set_thread_count(threads == 1 ? 2 : 1);
  EXPECT_EQ(run(*model, tokens()), packed);
  set_thread_count(threads);
  for (std::size_t s = 0; s + 1 < starts.size(); ++s) {
    const std::size_t first = starts[s], rows = starts[s + 1] - first;
    const std::vector<std::uint32_t> alone{0, static_cast<std::uint32_t>(rows)};
    const auto seen = run(*model, {std::span(ids).subspan(first, rows),
                                   std::span(positions).subspan(first, rows), alone});
    for (const auto& [hook, values] : packed) {
      const std::size_t width = values.size() / ids.size();
      const std::span<const float> part(values.data() + first * width, rows * width);
      EXPECT_TRUE(std::ranges::equal(seen.at(hook), part)) << hook << ", segment " << s;
    }
  }
}

TEST_P(FamilyGolden, stops_behind_the_last_layer_that_is_asked_for) {
  Recorder recorder;
  Stream stream;
  model->forward(tokens(), 0, recorder, stream);
  const auto whole = run(*model, tokens());
  for (const auto& [hook, values] : recorder.seen) {
    EXPECT_TRUE(hook.starts_with("blocks.0.")) << hook;
    EXPECT_EQ(values, whole.at(hook)) << hook;
  }
}

TEST_P(FamilyGolden, is_found_whole_without_being_loaded) {
  const ModelInfo info = read_model_info(folder);
  EXPECT_EQ(info.layers, model->info().layers);
  const HookPoint last{static_cast<int>(info.layers) - 1, Site::resid_post};
  EXPECT_NO_THROW(check_language_model(folder, std::span(&last, 1)));
  EXPECT_EQ(hugging_face_module(info.family, last).ends_with(std::to_string(info.layers - 1)),
            true);
  const HookPoint beyond{static_cast<int>(info.layers), Site::resid_post};
  EXPECT_THROW(check_language_model(folder, std::span(&beyond, 1)), ConfigError);
  const HookPoint between{0, Site::resid_mid};
  if (info.has_resid_mid)
    EXPECT_NO_THROW(model->require(between));
  else
    EXPECT_THROW(model->require(between), ConfigError);

  // The bytes of the tensors as fp32, but for a head that is tied and stored all the same.
  std::uint64_t stored = 0;
  const SafetensorsFile file(folder / "model.safetensors");
  for (const StoredTensor& tensor : file.tensors()) {
    std::uint64_t values = 1;
    for (const std::size_t axis : tensor.shape) values *= axis;
    stored += sizeof(float) * values;
  }
  EXPECT_EQ(info.parameter_bytes, stored);
}

INSTANTIATE_TEST_SUITE_P(Models, FamilyGolden, ::testing::ValuesIn(model_names()),
                         [](const auto& one) { return one.param; });

TEST(ArchTable, has_a_small_model_for_each_row) {
  std::set<std::string> families{
      read_model_info(fs::path(REFRACT_SOURCE_DIR) / "configs/demo/model").family};
  for (const std::string& model : model_names())
    families.insert(read_model_info(kModels / model).family);
  for (const Architecture& row : architectures())
    EXPECT_TRUE(families.contains(std::string(row.model_type))) << row.model_type;
}

}  // namespace
}  // namespace refract
