#include "refract/stages/evaluate.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/random.hpp"
#include "refract/base/stop.hpp"
#include "refract/sae/initialise.hpp"
#include "support/shard_of_ids.hpp"

namespace refract {
namespace {

constexpr std::size_t kDim = 6;
constexpr const char* kHook = "blocks.0.hook_resid_post";

// A model whose residual stream is a function of the token, and whose loss is 1 plus how far the
// stream was moved.
class MovedStream final : public LanguageModel {
 public:
  static std::vector<float> stream_of(std::uint32_t id) {
    const CounterRng rng(Purpose::test, {id});
    std::vector<float> row(kDim);
    for (std::size_t d = 0; d < kDim; ++d) row[d] = static_cast<float>(rng.normal(d) + 2);
    return row;
  }
  [[nodiscard]] const ModelInfo& info() const override { return info_; }
  void require(HookPoint) const override {}
  void forward(const PackedTokens&, int, Tap&, Stream&) const override { FAIL(); }
  void next_token_nll(const PackedTokens& tokens, Tap& tap, std::span<float> nll,
                      Stream&) const override {
    ++runs_;
    if (ask_to_stop_) request_stop();
    const std::size_t n = tokens.ids.size();
    Tensor<float> values(Shape{n, kDim});
    for (std::size_t i = 0; i < n; ++i)
      std::ranges::copy(stream_of(tokens.ids[i]), values.row(i).begin());
    tap.at(parse_hook_point(kHook), values.view());
    for (std::size_t i = 0; i < n; ++i) {
      const std::vector<float> before = stream_of(tokens.ids[i]);
      nll[i] = 1;
      for (std::size_t d = 0; d < kDim; ++d) nll[i] += std::pow(values.row(i)[d] - before[d], 2.0F);
    }
    for (std::size_t s = 1; s < tokens.segment_starts.size(); ++s)
      nll[tokens.segment_starts[s] - 1] = 0;
  }

  [[nodiscard]] int runs() const { return runs_; }
  void ask_to_stop() { ask_to_stop_ = true; }

 private:
  ModelInfo info_;
  mutable int runs_ = 0;
  bool ask_to_stop_ = false;
};

// One shard of four documents of 20, 25, 30 and 35 tokens, all held out, in contexts of 32 with BOS
// 0.
class Evaluate : public ::testing::Test {
 protected:
  Evaluate()
      : folder_(fs::path(::testing::TempDir()) / "evaluate_test"),
        corpus_(std::vector<std::uint8_t>(100, 0), 2) {
    fs::remove_all(folder_);
    make_folder(folder_);
    write_corpus();
    write_heldout();
    config_ = {.name = "small", .hook = kHook, .d_sae = 24, .k = 3};
    variant_ = make_variant(config_, kDim, 100);
    HookCalibration& hook = calibration_.hooks.emplace_back();
    hook.hook = kHook;
    hook.d_in = kDim;
    hook.sink_threshold = 1e9;
    hook.mean.assign(kDim, 2);
    hook.geometric_median.assign(kDim, 2);
    hook.covariance.assign(kDim * kDim, 0);
    for (std::size_t d = 0; d < kDim; ++d)
      hook.covariance[d * kDim + d] = 1 + 0.1 * static_cast<double>(d);
    parameters_ = initial_parameters(config_, *variant_, std::vector<float>(kDim, 1));
  }
  ~Evaluate() override { fs::remove_all(folder_); }

  void write_corpus() {
    const CounterRng rng(Purpose::test, {77});
    std::vector<std::vector<std::uint32_t>> documents(4);
    std::uint64_t drawn = 0;
    for (std::uint32_t d = 0; d < 4; ++d)
      for (std::uint32_t i = 0; i < 20 + 5 * d; ++i)
        documents[d].push_back(1 + static_cast<std::uint32_t>(rng.below(drawn++, 99)));
    const TokenShardData shard = test::shard_of_ids(100, documents);
    (void)write_token_shard(folder_ / "tokens.h5", shard, {});
    const ContextTableData table =
        build_contexts({.length = 32, .bos_id = 0}, shard.document_token_starts,
                       std::vector<std::uint8_t>(4, 1), std::vector<std::uint8_t>(4, 1));
    contexts_ = table.contexts();
    (void)write_contexts(folder_ / "contexts.h5", table, {});
    corpus_.add_shard({folder_ / "tokens.h5", folder_ / "contexts.h5"});
  }

  void write_heldout() {
    RowIdentity identity;
    for (std::size_t context = 0; context < contexts_; ++context) {
      const ContextInput input = corpus_.input(context);
      for (std::size_t slot = 0; slot < input.ids.size(); ++slot)
        identity.append(input.slots, slot);
    }
    ChunkSpec spec;
    spec.permuted = false;
    spec.rows = spec.block_rows = identity.size();
    spec.hooks = {{kHook, kDim}};
    std::vector<float> activations;
    for (const std::uint32_t token : identity.token) {
      const std::vector<float> row = MovedStream::stream_of(token);
      activations.insert(activations.end(), row.begin(), row.end());
    }
    const std::vector<std::uint8_t> sinks(identity.size(), 0);
    const HookRows rows{activations, sinks};
    Communicator one = Communicator::loopback();
    ChunkWriter writer = ChunkWriter::collective_open(folder_ / "heldout.h5", spec, one);
    writer.write_block(0, identity, {&rows, 1});
    (void)writer.collective_seal();
    heldout_.emplace(folder_ / "heldout.h5");
  }

  [[nodiscard]] EvaluatedSae sae() const { return {&config_, variant_.get(), &parameters_, 0.5}; }

  fs::path folder_;
  TokenCorpus corpus_;
  std::size_t contexts_ = 0;
  std::optional<ChunkReader> heldout_;
  SaeConfig config_;
  std::unique_ptr<Variant> variant_;
  SaeParameters parameters_;
  CalibrationData calibration_;
  MovedStream model_;
};

MetricReport measure_rows(const EvaluatedSae& sae, const ChunkReader& heldout, std::uint64_t seed,
                          std::uint64_t max_rows = 0) {
  Communicator alone = Communicator::loopback();
  return collective_evaluate_rows(sae, heldout, seed, max_rows, alone);
}

TEST_F(Evaluate, counts_included_rows_and_whole_documents) {
  const MetricReport all = measure_rows(sae(), *heldout_, 1);
  const MetricReport some = measure_rows(sae(), *heldout_, 1, 60);

  EXPECT_EQ(all.rows, 110U);  // BOS rows take part in nothing
  EXPECT_EQ(all.documents, 4U);
  EXPECT_EQ(some.rows, 45U);
  EXPECT_EQ(some.documents, 2U);
  EXPECT_LE(all.of("l0").value, 3);
  EXPECT_GT(all.of("l0").value, 0);
}

TEST_F(Evaluate, measures_in_raw_units_whatever_the_input_scale) {
  const MetricReport half = measure_rows(sae(), *heldout_, 1);
  SaeParameters rescaled = copy(parameters_);
  for (float& value : rescaled.b_dec.span()) value *= 2;
  const MetricReport one = measure_rows({&config_, variant_.get(), &rescaled, 1.0}, *heldout_, 1);

  EXPECT_NEAR(half.of("mse").value, one.of("mse").value, 1e-5);
  EXPECT_NEAR(half.of("r2").value, one.of("r2").value, 1e-5);
}

TEST_F(Evaluate, cross_entropy_is_that_of_the_moved_stream) {
  const EvaluatedSae one = sae();
  const MetricReport report =
      CrossEntropy(model_, corpus_, *heldout_, calibration_.of(kHook), 100000, 1).of(one);

  double zero = 0, tokens = 0;
  for (std::size_t context = 0; context < contexts_; ++context) {
    const ContextInput input = corpus_.input(context);
    for (std::size_t s = 1; s < input.segment_starts.size(); ++s)
      for (std::size_t i = input.segment_starts[s - 1]; i + 1 < input.segment_starts[s]; ++i) {
        ++tokens;
        if (input.slots.excluded[i] != 0) continue;
        for (const float value : MovedStream::stream_of(input.ids[i]))
          zero += double(value) * double(value);
      }
  }
  EXPECT_EQ(report.rows, static_cast<std::uint64_t>(tokens));
  EXPECT_DOUBLE_EQ(report.of("ce_clean").value, 1);
  EXPECT_NEAR(report.of("ce_zero").value, 1 + zero / tokens, 1e-4);
  EXPECT_GT(report.of("delta_ce").value, 0);
  EXPECT_LT(report.of("ce_mean").value, report.of("ce_zero").value);
  EXPECT_NEAR(report.of("ce_recovered_zero").value,
              1 - report.of("delta_ce").value / (report.of("ce_zero").value - 1), 1e-9);
}

TEST_F(Evaluate, cross_entropy_keeps_to_its_budget_of_tokens) {
  const EvaluatedSae one = sae();

  const MetricReport report =
      CrossEntropy(model_, corpus_, *heldout_, calibration_.of(kHook), 40, 1).of(one);

  EXPECT_GT(report.rows, 20U);
  EXPECT_LE(report.rows, 40U);
}

TEST_F(Evaluate, gives_every_part_it_was_asked_for_and_the_same_twice) {
  const EvaluatedSae one = sae();
  const auto run = [&] {
    const EvaluateConfig config;
    return Evaluator(config, *heldout_, calibration_, model_, corpus_).evaluate(one);
  };
  const SaeEvaluation evaluation = run();

  const auto json = nlohmann::json::parse(to_json(evaluation, {{"weights", "0f"}}));

  EXPECT_EQ(json["name"], "small");
  EXPECT_EQ(json["inference"]["rows"], 110);
  EXPECT_TRUE(json["inference"].contains("r2_lo"));
  EXPECT_TRUE(json["baselines"]["random"].contains("l0"));
  EXPECT_TRUE(json["baselines"]["pca"].contains("l0"));
  EXPECT_GT(json["baselines"]["pca"]["r2"], 0.3);
  EXPECT_TRUE(json["cross_entropy"].contains("delta_ce"));
  EXPECT_EQ(json["parents"]["weights"], "0f");
  EXPECT_EQ(to_json(evaluation, {}), to_json(run(), {}));
}

TEST_F(Evaluate, runs_the_model_without_an_sae_once_for_all_of_a_hook) {
  const EvaluatedSae one = sae();
  const EvaluateConfig config;
  Evaluator evaluator(config, *heldout_, calibration_, model_, corpus_);

  const SaeEvaluation first = evaluator.evaluate(one);
  const int runs_for_one = model_.runs();
  const SaeEvaluation second = evaluator.evaluate(one);

  EXPECT_EQ(runs_for_one % 4, 0);  // clean, zero, mean, spliced; of each batch
  EXPECT_EQ(model_.runs(), runs_for_one + runs_for_one / 4);
  EXPECT_EQ(to_json(first, {}), to_json(second, {}));
}

// A request to stop lasts as long as the process.
TEST_F(Evaluate, is_dropped_inside_the_model_once_a_stop_was_asked_for) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        model_.ask_to_stop();
        const EvaluateConfig config;
        const EvaluatedSae one = sae();
        const Droppable droppable;
        try {
          (void)Evaluator(config, *heldout_, calibration_, model_, corpus_).evaluate(one);
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
  relu.l1.coefficient = 3;
  const std::unique_ptr<Variant> variant = make_variant(relu, kDim, 100);
  const EvaluatedSae one{&relu, variant.get(), &parameters_, 0.5};

  const EvaluateConfig config;
  const SaeEvaluation evaluation =
      Evaluator(config, *heldout_, calibration_, model_, corpus_).evaluate(one);

  const double l0 = evaluation.inference.of("l0").value;
  EXPECT_EQ(random_control(one, calibration_.of(kHook), l0).config.k, std::round(l0));
  EXPECT_LE(evaluation.baselines.at("random").of("l0").value, std::round(l0));
}

TEST_F(Evaluate, of_batchtopk_selects_among_included_rows_alone_in_training_mode) {
  SaeConfig batchtopk = config_;
  batchtopk.variant = "batchtopk";
  const std::unique_ptr<Variant> variant = make_variant(batchtopk, kDim, 100);
  SaeParameters parameters = initial_parameters(batchtopk, *variant, std::vector<float>(kDim, 1));

  const EvaluateConfig config;
  const auto report = Evaluator(config, *heldout_, calibration_, model_, corpus_)
                          .evaluate({&batchtopk, variant.get(), &parameters, 0.5})
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

  EXPECT_TRUE(
      said([&] { return measure_rows(one, *heldout_, 1); }).starts_with("SAE 'small': mse is nan"));
  EXPECT_NE(
      said([&] {
        return CrossEntropy(model_, corpus_, *heldout_, calibration_.of(kHook), 100000, 1).of(one);
      }).find("cross-entropy with SAE 'small': the loss of token"),
      std::string::npos);
}

TEST(EvaluateConfig, refuses_an_unknown_baseline_and_lists_the_known) {
  EXPECT_THROW(check(EvaluateConfig{.baselines = {"svd"}}), ConfigError);
  EXPECT_NO_THROW(check(EvaluateConfig{}));
}

}  // namespace
}  // namespace refract
