#include "refract/sae/saelens.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/sae/fold.hpp"
#include "refract/sae/variant.hpp"
#include "refract/stages/sae_reconstructor.hpp"
#include "refract/store/safetensors.hpp"
#include "support/one_rank_step.hpp"
#include "support/spaces.hpp"
#include "unit/sae/problem.hpp"

namespace refract {
namespace {

using namespace testing_support;

constexpr float kInputScale = 0.37F;
constexpr std::size_t kDim = 32, kDimOut = 24, kFeatures = 200, kRows = 256;

const std::map<std::string, std::string> kMetadata{{"hook_name", "\"blocks.0.hook_resid_post\""},
                                                   {"context_size", "256"}};

// The folder of every variant and dtype, and beside each `expected.safetensors`: raw rows `x` and
// the dense activations `feature_acts` refract computes for them, for
// tests/interop/saelens_test.py.
void write_golden_folder(const fs::path& folder, const Problem& problem, DType dtype,
                         const SaeSpaces& spaces = {scaling(kInputScale), scaling(kInputScale)}) {
  make_folder(folder);
  const SaeParameters& p = problem.state.parameters;
  std::map<std::string, std::string> metadata = kMetadata;
  if (is_transcoder(problem.config))
    metadata["hook_name_out"] = "\"" + problem.config.target_hook + "\"";
  SaeExport exported = problem.variant->export_for_saelens(p);
  fold(exported, *spaces.input, *spaces.target);
  (void)write_saelens_folder(folder, exported, dtype, metadata);
  SparseActs acts;
  Tensor<float> dense(Shape{kRows, kFeatures}), x_hat(Shape{kRows, p.d_out()});
  std::ranges::fill(dense.span(), 0.0F);
  SaeReconstructor({&problem.config, problem.variant.get(), &p, spaces})
      .reconstruct(problem.x.cview(), {}, acts, x_hat.view());
  for (std::size_t row = 0; row < kRows; ++row)
    for (std::size_t j = acts.row_starts[row]; j < acts.row_starts[row + 1]; ++j)
      dense.row(row)[acts.features[j]] = acts.values[j];
  const StoredTensor tensors[] = {
      stored_tensor<float>("x", DType::f32, {kRows, kDim}, problem.x.span()),
      stored_tensor<float>("x_hat", DType::f32, {kRows, p.d_out()}, x_hat.span()),
      stored_tensor<float>("feature_acts", DType::f32, {kRows, kFeatures}, dense.span())};
  write_safetensors(folder / "expected.safetensors", tensors);
}

// Of one row, the activations that are not 0, and how far they are from what the folder says.
struct Apart {
  double largest = 0, worst = 0;
  std::size_t fired = 0;
};
template <typename Theirs>
Apart apart(const std::vector<float>& acts, std::size_t row, Theirs&& theirs) {
  Apart found;
  for (std::size_t f = 0; f < kFeatures; ++f) {
    const double ours = acts[row * kFeatures + f];
    if (ours == 0) continue;
    found.largest = std::max(found.largest, std::abs(ours));
    found.worst = std::max(found.worst, std::abs(ours - theirs(f)));
    ++found.fired;
  }
  return found;
}

class SaeLens : public ::testing::Test {
 protected:
  SaeLens() : problem_(make_problem(kDim, kFeatures, 7, kRows, 16, false)) {
    // REFRACT_GOLDEN_OUT keeps the folders for the interop test.
    const char* keep = std::getenv("REFRACT_GOLDEN_OUT");
    folder_ = keep != nullptr ? fs::path(keep) : fs::path(::testing::TempDir()) / "saelens_golden";
    OneRank rank(5);
    for (int step = 0; step < 5; ++step) (void)rank.step(problem_, problem_.batch());
  }
  Problem problem_;
  fs::path folder_;
};

TEST_F(SaeLens, folders_hold_what_its_loader_reads) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const fs::path folder = folder_ / ("topk-" + std::string(name(dtype)));
    write_golden_folder(folder, problem_, dtype);

    const auto cfg = nlohmann::json::parse(read_file(folder / "cfg.json"));
    EXPECT_EQ(cfg["architecture"], "topk");
    EXPECT_EQ(cfg["k"], 7);
    EXPECT_EQ(cfg["d_in"], kDim);
    EXPECT_EQ(cfg["d_sae"], kFeatures);
    EXPECT_EQ(cfg["dtype"], dtype == DType::f32 ? "float32" : "bfloat16");
    EXPECT_EQ(cfg["metadata"]["hook_name"], "blocks.0.hook_resid_post");
    EXPECT_EQ(cfg["metadata"]["sae_lens_version"], "6.18.0");
    const SafetensorsFile weights(folder / "sae_weights.safetensors");
    EXPECT_EQ(weights.tensors().size(), 4U);
    EXPECT_EQ(weights.at("W_enc").shape, (std::vector<std::size_t>{kDim, kFeatures}));
    EXPECT_EQ(weights.at("W_dec").shape, (std::vector<std::size_t>{kFeatures, kDim}));
    EXPECT_EQ(weights.at("W_enc").dtype, dtype == DType::f32 ? "F32" : "BF16");
  }
}

TEST_F(SaeLens, export_computes_the_same_activations_on_raw_input) {
  const fs::path folder = folder_ / "topk-fp32";
  write_golden_folder(folder, problem_, DType::f32);
  const SafetensorsFile weights(folder / "sae_weights.safetensors"),
      expected(folder / "expected.safetensors");
  const auto W_enc = read_f32(weights.at("W_enc")), b_enc = read_f32(weights.at("b_enc"));
  const auto b_dec = read_f32(weights.at("b_dec")), acts = read_f32(expected.at("feature_acts"));

  for (std::size_t row = 0; row < kRows; ++row) {
    const Apart found = apart(acts, row, [&](std::size_t f) {
      double theirs = b_enc[f];
      for (std::size_t d = 0; d < kDim; ++d)
        theirs +=
            (double(problem_.x.row(row)[d]) - double(b_dec[d])) * double(W_enc[d * kFeatures + f]);
      return theirs;
    });
    EXPECT_GT(found.largest, 0);
    EXPECT_LE(found.worst, 1e-5 * found.largest) << row;
  }
}

// A target scale of its own, b_dec of the target alone, and widths that differ.
TEST_F(SaeLens, folders_of_a_transcoder_compute_the_same_on_raw_input) {
  Problem problem = make_transcoder_problem(kDim, kDimOut, kFeatures, kRows, 16, false);
  OneRank rank(5);
  for (int step = 0; step < 5; ++step) (void)rank.step(problem, problem.batch());
  const fs::path folder = folder_ / "transcoder-fp32";
  write_golden_folder(folder, problem, DType::f32, {scaling(0.37), scaling(0.11)});
  write_golden_folder(folder_ / "transcoder-bf16", problem, DType::bf16,
                      {scaling(0.37), scaling(0.11)});

  const auto cfg = nlohmann::json::parse(read_file(folder / "cfg.json"));
  EXPECT_EQ(cfg["architecture"], "transcoder");
  EXPECT_EQ(cfg["d_in"], kDim);
  EXPECT_EQ(cfg["d_out"], kDimOut);
  EXPECT_EQ(cfg["d_sae"], kFeatures);
  EXPECT_EQ(cfg["apply_b_dec_to_input"], false);
  EXPECT_EQ(cfg["metadata"]["hook_name_out"], "blocks.0.hook_mlp_out");
  const SaelensWeights read = read_saelens_weights(folder);
  ASSERT_EQ(read.W_enc.shape(), (Shape{kFeatures, kDim}));
  ASSERT_EQ(read.W_dec.shape(), (Shape{kFeatures, kDimOut}));
  const auto b_enc = read_f32(SafetensorsFile(folder / "sae_weights.safetensors").at("b_enc"));
  const SafetensorsFile expected(folder / "expected.safetensors");
  const auto acts = read_f32(expected.at("feature_acts")), x_hat = read_f32(expected.at("x_hat"));
  for (std::size_t row = 0; row < kRows; ++row) {
    std::vector<double> decoded(read.b_dec.span().begin(), read.b_dec.span().end());
    double largest = 0, worst = 0;
    for (std::size_t f = 0; f < kFeatures; ++f) {
      double theirs = b_enc[f];
      for (std::size_t d = 0; d < kDim; ++d)
        theirs += double(problem.x.row(row)[d]) * double(read.W_enc.row(f)[d]);
      theirs = std::max(theirs, 0.0);
      largest = std::max(largest, theirs);
      worst = std::max(worst, std::abs(theirs - double(acts[row * kFeatures + f])));
      for (std::size_t d = 0; d < kDimOut; ++d) decoded[d] += theirs * double(read.W_dec.row(f)[d]);
    }
    EXPECT_GT(largest, 0);
    EXPECT_LE(worst, 1e-5 * largest) << row;
    for (std::size_t d = 0; d < kDimOut; ++d)
      EXPECT_NEAR(x_hat[row * kDimOut + d], decoded[d], 1e-4 * largest) << row;
  }
}

// Every variant, trained on rows that are whitened or in units of their own: inference of the
// folder on raw rows, written out, is what refract computes.
TEST_F(SaeLens, folders_of_normalised_rows_compute_the_same_on_raw_input) {
  const Tensor<float> raw = test::uneven_rows(kRows, kDim, 3);
  const HookCalibration hook = test::calibration_of("blocks.0.hook_resid_post", raw);
  std::size_t fired = 0;
  for (const std::string_view word : {"whiten", "layer_norm"})
    for (const std::string_view variant : variant_names()) {
      Problem problem = make_problem(kDim, kFeatures, 7, kRows, 16, false, 7, std::string(variant));
      const SharedNormaliser space = make_normaliser(hook, word);
      Stream host;
      space->on({})->to(raw.cview(), problem.x.view(), host);
      OneRank rank(5);
      for (int step = 0; step < 5; ++step) (void)rank.step(problem, problem.batch());
      std::ranges::copy(raw.span(), problem.x.data());
      const fs::path folder = folder_ / fmt::format("{}-{}-fp32", word, variant);

      write_golden_folder(folder, problem, DType::f32, {space, space});

      const auto cfg = nlohmann::json::parse(read_file(folder / "cfg.json"));
      EXPECT_EQ(cfg["normalize_activations"], word == "whiten" ? "none" : "layer_norm");
      const SaelensWeights read = read_saelens_weights(folder);
      const SafetensorsFile weights(folder / "sae_weights.safetensors"),
          expected(folder / "expected.safetensors");
      const bool gated = variant == "gated", ranks = variant == "topk" || variant == "abstopk";
      const auto b_enc = read_f32(weights.at(gated ? "b_gate" : "b_enc")),
                 acts = read_f32(expected.at("feature_acts"));
      const auto b_mag = gated ? read_f32(weights.at("b_mag")) : std::vector<float>(),
                 r_mag = gated ? read_f32(weights.at("r_mag")) : std::vector<float>();
      Tensor<float> seen(raw.shape());
      if (word == "layer_norm")
        space->on({})->to(raw.cview(), seen.view(), host);
      else
        std::ranges::copy(raw.span(), seen.data());
      for (std::size_t row = 0; row < kRows; ++row) {
        const Apart found = apart(acts, row, [&](std::size_t f) {
          double theirs = b_enc[f];
          for (std::size_t d = 0; d < kDim; ++d)
            theirs += (double(seen.row(row)[d]) - double(read.b_dec.data()[d])) *
                      double(read.W_enc.row(f)[d]);
          if (gated)
            theirs = std::exp(double(r_mag[f])) * (theirs - double(b_enc[f])) + double(b_mag[f]);
          return theirs;
        });
        fired += found.fired;
        EXPECT_LE(found.worst, 1e-5 * found.largest) << folder << ' ' << row;
      }
      for (std::size_t f = 0; f < kFeatures && !ranks; ++f) {
        double squares = 0;
        for (const float value : read.W_dec.row(f)) squares += double(value) * double(value);
        EXPECT_NEAR(squares, 1, 1e-5) << folder << ' ' << f;
      }
    }
  EXPECT_GT(fired, 1000U);
}

// A dictionary that is dealt to two, which write what each owns.
TEST_F(SaeLens, folds_the_same_bytes_in_any_pieces) {
  const Tensor<float> raw = test::uneven_rows(kRows, kDim, 3);
  const SharedNormaliser space =
      make_normaliser(test::calibration_of("blocks.0.hook_resid_post", raw), "whiten");
  const Problem problem = make_problem(kDim, kFeatures, 0, kRows, 16, false, 7, "relu");
  SaeExport whole = problem.variant->export_for_saelens(problem.state.parameters);
  fold(whole, *space, *space);
  const fs::path folder = folder_ / "pieces";
  make_folder(folder);
  (void)write_saelens_folder(folder, whole, DType::f32, {});
  const std::string at_once = read_file(folder / "sae_weights.safetensors");

  Stream host;
  {
    SafetensorsWriter file =
        open_saelens_weights(folder, whole, DType::f32, FileWriter::Begin::create);
    for (const FeatureRange range : {FeatureRange{128, 72}, FeatureRange{0, 128}}) {
      const SaeParameters part =
          copy_features(problem.state.parameters, range.first, range.count, host);
      SaeExport some = problem.variant->export_for_saelens(part);
      some.d_sae = kFeatures;
      fold(some, *space, *space);
      write_owned(file, some, DType::f32, {range, range.first == 0}, host);
    }
    (void)file.close();
  }

  EXPECT_EQ(read_file(folder / "sae_weights.safetensors"), at_once);
  fs::remove_all(folder);
}

TEST_F(SaeLens, folders_give_back_their_directions_in_raw_units) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const fs::path folder = folder_ / ("topk-" + std::string(name(dtype)));
    write_golden_folder(folder, problem_, dtype);

    const SaelensWeights read = read_saelens_weights(folder);

    const SaeParameters& p = problem_.state.parameters;
    ASSERT_EQ(read.W_enc.shape(), p.W_enc.shape());
    ASSERT_EQ(read.W_dec.shape(), p.W_dec.shape());
    const float tolerance = dtype == DType::f32 ? 1e-6F : 1.0F / 256;
    for (std::size_t i = 0; i < p.W_enc.size(); ++i) {
      EXPECT_NEAR(read.W_enc.data()[i], p.W_enc.data()[i], tolerance);
      EXPECT_NEAR(read.W_dec.data()[i], p.W_dec.data()[i], tolerance);
    }
    for (std::size_t d = 0; d < kDim; ++d)
      EXPECT_NEAR(read.b_dec.data()[d] * kInputScale, p.b_dec.data()[d],
                  tolerance * std::max(1.0F, std::abs(p.b_dec.data()[d])));
  }
}

TEST(SaeLensFolder, without_a_tensor_or_with_one_of_another_shape_is_refused) {
  const fs::path folder = fs::path(::testing::TempDir()) / "saelens_refused";
  make_folder(folder);
  const std::vector<float> values(6);
  const auto refused = [&](std::vector<StoredTensor> tensors) {
    write_safetensors(folder / "sae_weights.safetensors", tensors);
    try {
      (void)read_saelens_weights(folder);
    } catch (const DataError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  const auto W_dec = stored_tensor<float>("W_dec", DType::f32, {3, 2}, values);
  const auto W_enc = stored_tensor<float>("W_enc", DType::f32, {2, 3}, values);

  EXPECT_NE(refused({W_dec, W_enc}).find("b_dec"), std::string::npos);
  EXPECT_NE(
      refused({W_dec, stored_tensor<float>("W_enc", DType::f32, {3, 2}, values)}).find("W_enc"),
      std::string::npos);
  EXPECT_NE(refused({stored_tensor<float>("W_dec", DType::f32, {6}, values)}).find("1 axes"),
            std::string::npos);
  fs::remove_all(folder);
  EXPECT_THROW((void)read_saelens_weights(folder), Error);
}

// Widths and dictionaries that are no multiple of a tile, and one that is.
TEST(SaeLensFolder, holds_each_value_in_its_place_for_any_shape) {
  for (const auto& [width, features] :
       {std::pair<std::size_t, std::size_t>{1, 1}, {63, 130}, {64, 64}, {65, 127}, {200, 3}}) {
    SaeParameters p = make_parameters({.d_sae = features, .d_in = width, .d_out = width});
    float next = 1;
    for (const auto& [name, tensor] : named_tensors(p))
      for (float& value : tensor.span()) value = next++;
    const SaeExport exported{.architecture = "standard",
                             .d_in = width,
                             .d_sae = features,
                             .json_values = {},
                             .tensors = {{"W_enc", TensorRole::encoder, p.W_enc.cview()},
                                         {"b_enc", TensorRole::encoder_bias, p.b_enc.cview()}},
                             .folds = {.input = {.factor = 3}, .target = {.factor = 3}}};
    const fs::path folder = fs::path(::testing::TempDir()) / "saelens_shapes";
    for (const DType dtype : {DType::f32, DType::bf16}) {
      make_folder(folder);

      (void)write_saelens_folder(folder, exported, dtype, {});

      const SafetensorsFile file(folder / "sae_weights.safetensors");
      const auto stored = [&](float value) {
        return dtype == DType::f32 ? value : to_float(to_bf16(value));
      };
      const auto W_enc = read_f32(file.at("W_enc", {width, features})),
                 b_enc = read_f32(file.at("b_enc", {features}));
      for (std::size_t f = 0; f < features; ++f) {
        ASSERT_EQ(b_enc[f], stored(p.b_enc.data()[f] / 3)) << f;
        for (std::size_t d = 0; d < width; ++d)
          ASSERT_EQ(W_enc[d * features + f], stored(p.W_enc.row(f)[d])) << d << ' ' << f;
      }
      fs::remove_all(folder);
    }
  }
}

}  // namespace
}  // namespace refract
