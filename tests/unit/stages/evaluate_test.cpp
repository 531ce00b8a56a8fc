#include "refract/stages/evaluate.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "refract/base/error.hpp"
#include "refract/base/stop.hpp"
#include "refract/metrics/isotropy.hpp"
#include "refract/sae/fold.hpp"
#include "refract/sae/initialise.hpp"
#include "refract/sae/saelens.hpp"
#include "refract/stages/calibrate.hpp"
#include "refract/stages/evaluation_json.hpp"
#include "refract/stages/evaluation_text.hpp"
#include "support/moved_stream.hpp"

namespace refract {
namespace {

using test::MovedStream;

constexpr std::size_t kDim = MovedStream::kDim;
constexpr const char* kHook = MovedStream::kHook;

class Evaluate : public ::testing::Test {
 protected:
  Evaluate() {
    config_ = {.name = "small", .hooks = {kHook}, .d_sae = 24, .k = 3};
    variant_ = make_variant(config_, kDim, 100);
    parameters_ = initial_parameters(config_, *variant_, kDim, std::vector<float>(kDim, 1));
  }

  [[nodiscard]] EvaluatedSae sae() const {
    return {&config_, variant_.get(), &parameters_, {scaling(0.5), scaling(0.5)}};
  }

  [[nodiscard]] SaeEvaluation evaluate(const EvaluatedSae& sae, const EvaluateConfig& config = {}) {
    Communicator alone = Communicator::loopback();
    SharedStop stop(alone);
    return Evaluator(config, sources(), stop, alone).collective_evaluate(sae);
  }
  [[nodiscard]] EvaluationSources sources() {
    return {*heldout_, nullptr, calibration_, &model_, corpus_};
  }

  test::MovedStreamCorpus data_{"evaluate_test"};
  TokenCorpus& corpus_ = data_.corpus();
  const ChunkReader* heldout_ = &data_.heldout();
  const CalibrationData& calibration_ = data_.calibration();
  bool ask_to_stop_ = false;
  MovedStream model_{[this] {
    if (ask_to_stop_) request_stop();
  }};
  SaeConfig config_;
  std::unique_ptr<Variant> variant_;
  SaeParameters parameters_;
};

MetricReport measure_rows(const EvaluatedSae& sae, const ChunkReader& heldout,
                          const CalibrationData& calibration, std::uint64_t max_rows = 0) {
  Communicator alone = Communicator::loopback();
  return collective_evaluate_rows(sae, heldout, calibration.of(kHook), 1, max_rows, alone);
}

TEST_F(Evaluate, counts_included_rows_and_whole_documents) {
  const MetricReport all = measure_rows(sae(), *heldout_, calibration_);
  const MetricReport some = measure_rows(sae(), *heldout_, calibration_, 60);

  EXPECT_EQ(all.rows, 110U);  // BOS rows take part in nothing
  EXPECT_EQ(all.documents, 4U);
  EXPECT_EQ(some.rows, 45U);
  EXPECT_EQ(some.documents, 2U);
  EXPECT_LE(all.of("l0").value, 3);
  EXPECT_GT(all.of("l0").value, 0);
}

TEST_F(Evaluate, measures_in_raw_units_whatever_the_input_scale) {
  const MetricReport half = measure_rows(sae(), *heldout_, calibration_);
  SaeParameters rescaled = copy(parameters_);
  for (float& value : rescaled.b_dec.span()) value *= 2;
  const MetricReport one =
      measure_rows({&config_, variant_.get(), &rescaled}, *heldout_, calibration_);

  EXPECT_NEAR(half.of("mse").value, one.of("mse").value, 1e-5);
  EXPECT_NEAR(half.of("r2").value, one.of("r2").value, 1e-5);
}

// The same function of raw rows, once of an SAE that sees them as they are: its encoder and decoder
// have taken the maps in.
TEST_F(Evaluate, measures_an_sae_of_whitened_rows_in_raw_units) {
  HookCalibration hook = calibration_.of(kHook);
  ZcaWhitening zca = zca_whitening_of(hook.covariance, kDim, kCalibratedWhiteningFloor);
  hook.whitening = std::make_shared<const WhiteningMaps>(
      WhiteningMaps{std::move(zca.W), std::move(zca.inverse)});
  const SharedNormaliser space = make_normaliser(hook, "whiten");
  SaeExport exported = variant_->export_for_saelens(parameters_);
  fold(exported, *space, *space);
  SaelensWeights folded = folded_weights(exported);
  SaeParameters raw = copy(parameters_);
  std::ranges::copy(folded.W_enc.span(), raw.W_enc.data());
  std::ranges::copy(folded.W_dec.span(), raw.W_dec.data());
  std::ranges::copy(folded.b_dec.span(), raw.b_dec.data());

  const MetricReport found = measure_rows({&config_, variant_.get(), &parameters_, {space, space}},
                                          *heldout_, calibration_),
                     expected =
                         measure_rows({&config_, variant_.get(), &raw}, *heldout_, calibration_);

  for (const char* metric : {"squared_error", "r2", "l0"})
    EXPECT_NEAR(found.of(metric).value, expected.of(metric).value,
                1e-4 * std::abs(expected.of(metric).value))
        << metric;
}

TEST_F(Evaluate, gives_every_part_it_was_asked_for_and_the_same_twice) {
  const auto run = [&] { return evaluate(sae()); };
  SaeEvaluation evaluation = run();
  evaluation.verdicts = verdicts_of(evaluation, Advice::load(""));

  const auto json = nlohmann::json::parse(to_json(evaluation, {{"weights", "0f"}}));

  EXPECT_EQ(json["name"], "small");
  EXPECT_EQ(json["inference"]["rows"], 110);
  EXPECT_TRUE(json["inference"].contains("r2_lo"));
  EXPECT_EQ(json["inference"]["unseen_at_most"], 3.0 / 110);
  for (const char* baseline : {"pca", "pca_topk", "neurons", "random"}) {
    EXPECT_LE(json["baselines"][baseline]["l0"], 3) << baseline;
    EXPECT_EQ(json["baselines"][baseline]["kept"], 3) << baseline;
  }
  EXPECT_EQ(json["baselines"]["pca"]["components"], 3);
  EXPECT_EQ(json["baselines"]["pca_topk"]["components"], kDim);
  EXPECT_GT(json["baselines"]["pca_topk"]["r2"], json["baselines"]["pca"]["r2"]);
  EXPECT_EQ(json["decoder"]["pairs"], 24 * 23 / 2);
  EXPECT_EQ(json["chance"]["pairs"], 24 * 23 / 2);
  EXPECT_TRUE(json["spliced_loss"].contains("delta_ce"));
  EXPECT_TRUE(json["spliced_loss"].contains("kl_sae"));
  EXPECT_FALSE(json["verdicts"].empty());
  EXPECT_EQ(json["parents"]["weights"], "0f");
  EXPECT_EQ(to_json(evaluate(sae()), {}), to_json(run(), {}));
}

TEST_F(Evaluate, runs_the_model_without_an_sae_once_for_all_of_a_hook) {
  const EvaluateConfig config;
  Communicator alone = Communicator::loopback();
  SharedStop stop(alone);
  Evaluator evaluator(config, sources(), stop, alone);

  const SaeEvaluation first = evaluator.collective_evaluate(sae());
  const int runs_for_one = model_.runs();
  const SaeEvaluation second = evaluator.collective_evaluate(sae());

  // Clean, zero, mean; with the SAE, and with a random one.
  EXPECT_EQ(runs_for_one % 5, 0);
  EXPECT_EQ(model_.runs(), runs_for_one + 2 * runs_for_one / 5);
  EXPECT_EQ(to_json(first, {}), to_json(second, {}));
}

// A request to stop lasts as long as the process.
TEST_F(Evaluate, is_dropped_inside_the_model_once_a_stop_was_asked_for) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        ask_to_stop_ = true;
        try {
          (void)evaluate(sae());
        } catch (const StopRequested&) {
          ::_exit(model_.runs() == 1 ? 7 : 8);
        }
        ::_exit(9);
      },
      testing::ExitedWithCode(7), "");
}

TEST_F(Evaluate, of_a_variant_without_k_does_not_depend_on_one_given_elsewhere) {
  SaeConfig relu = config_;
  relu.variant = "relu";
  relu.k = 0;
  relu.penalty.coefficient = 3;
  const std::unique_ptr<Variant> variant = make_variant(relu, kDim, 100);
  const EvaluatedSae one{&relu, variant.get(), &parameters_, {scaling(0.5), scaling(0.5)}};

  const SaeEvaluation evaluation = evaluate(one);

  const double l0 = evaluation.inference.of("l0").value;
  for (const BaselineEvaluation& baseline : evaluation.baselines) {
    EXPECT_EQ(baseline.facts.kept,
              std::min<double>(baseline.name == "random" ? 24 : kDim, std::round(l0)))
        << baseline.name;
    EXPECT_LE(baseline.report.of("l0").value, std::round(l0)) << baseline.name;
  }
}

// The reconstruction of every row written out: x W_enc^T at the input's scale, b_dec at the
// target's.
TEST_F(Evaluate, of_a_transcoder_measures_what_it_makes_of_the_rows_it_reads) {
  SaeConfig config{.name = "mlp",
                   .hooks = {MovedStream::kInput},
                   .target_hook = kHook,
                   .variant = "relu",
                   .d_sae = 24};
  const std::unique_ptr<Variant> variant = make_variant(config, MovedStream::kInputDim, 100);
  const SaeParameters p =
      initial_parameters(config, *variant, MovedStream::kInputDim, std::vector<float>(kDim, 1));
  const SaeSpaces spaces{scaling(0.0625), scaling(0.25)};
  const RowIdentity identity = heldout_->read_identity();
  double squared = 0, active = 0, rows = 0;
  for (std::size_t i = 0; i < identity.size(); ++i) {
    if (identity.excluded[i] != 0) continue;
    ++rows;
    const std::vector<float> input = MovedStream::input_of(identity.token[i]);
    std::vector<double> error(kDim, 1 / 0.25);  // b_dec
    for (std::size_t f = 0; f < config.d_sae; ++f) {
      double pre = 0;
      for (std::size_t d = 0; d < input.size(); ++d)
        pre += 0.0625 * double(input[d]) * double(p.W_enc.row(f)[d]);
      active += pre > 0;
      for (std::size_t d = 0; d < kDim; ++d)
        error[d] += std::max(pre, 0.0) / 0.25 * double(p.W_dec.row(f)[d]);
    }
    const std::vector<float> target = MovedStream::stream_of(identity.token[i]);
    for (std::size_t d = 0; d < kDim; ++d) squared += std::pow(error[d] - double(target[d]), 2);
  }

  const SaeEvaluation evaluation = evaluate({&config, variant.get(), &p, spaces});

  EXPECT_EQ(evaluation.inference.rows, rows);
  EXPECT_NEAR(evaluation.inference.of("squared_error").value, squared / rows,
              1e-5 * squared / rows);
  EXPECT_NEAR(evaluation.inference.of("l0").value, active / rows, 1e-9);
  EXPECT_EQ(evaluation.d_in, MovedStream::kInputDim);
  EXPECT_EQ(evaluation.d_out, kDim);
  EXPECT_EQ(evaluation.target_hook, kHook);
  EXPECT_TRUE(evaluation.baselines.empty());
  EXPECT_FALSE(evaluation.random_spliced_loss);
  ASSERT_TRUE(evaluation.spliced_loss);
  const std::string text = to_json(evaluation, {});
  const std::string said = describe_evaluation(text, Advice::load(""), nullptr);
  EXPECT_NE(said.find("24 features of 4 dimensions (x6), blocks.0.ln2.hook_normalized to the 6 "
                      "dimensions of blocks.0.hook_resid_post"),
            std::string::npos)
      << said;
  EXPECT_NE(said.find("a transcoder has none"), std::string::npos) << said;
}

TEST_F(Evaluate, of_batchtopk_selects_among_included_rows_alone_in_training_mode) {
  SaeConfig batchtopk = config_;
  batchtopk.variant = "batchtopk";
  const std::unique_ptr<Variant> variant = make_variant(batchtopk, kDim, 100);
  SaeParameters parameters =
      initial_parameters(batchtopk, *variant, kDim, std::vector<float>(kDim, 1));

  const auto report =
      evaluate({&batchtopk, variant.get(), &parameters, {scaling(0.5), scaling(0.5)}})
          .training_mode;

  ASSERT_TRUE(report);
  EXPECT_EQ(report->of("l0").value, 3);  // k, of 110 rows; the BOS rows count for nothing
}

TEST_F(Evaluate, names_the_sae_and_the_metric_when_a_number_is_none) {
  parameters_.W_dec.row(0)[0] = std::nanf("");
  std::ranges::fill(parameters_.b_enc.span().first(1), 100.0F);  // so that it is used
  const EvaluatedSae one = sae();
  const auto said = [](const auto& measure) {
    try {
      (void)measure();
    } catch (const NumericalError& error) {
      return std::string(error.what());
    }
    return std::string();
  };

  EXPECT_TRUE(said([&] {
                return measure_rows(one, *heldout_, calibration_);
              }).starts_with("SAE 'small': mse is nan"));
}

TEST(EvaluateConfig, refuses_an_unknown_baseline_and_lists_the_known) {
  EvaluateConfig unknown;
  unknown.baselines = {"kmeans"};
  EXPECT_THROW(check(unknown), ConfigError);
  EXPECT_NO_THROW(check(EvaluateConfig{}));
}

}  // namespace
}  // namespace refract
