#include "refract/stages/spliced_loss.hpp"

#include <gtest/gtest.h>

#include <utility>

#include "refract/base/error.hpp"
#include "support/moved_stream.hpp"
#include "support/shifted.hpp"

namespace refract {
namespace {

using test::MovedStream;
using test::Shifted;

class SplicedLossOfMovedStream : public testing::Test {
 protected:
  SplicedLoss made(std::uint64_t tokens = 100000) {
    const HookCalibration& input = transcoder_ ? data_.input_hook() : data_.hook();
    return SplicedLoss::collective_without_sae(&model_, data_.corpus(), data_.heldout(),
                                               {input, data_.hook()}, tokens, 1, stop_, alone_);
  }
  MetricReport report(Reconstructor& sae, std::uint64_t tokens = 100000) {
    return made(tokens).collective_report(sae, "small", stop_, alone_);
  }
  // Means over the tokens that have a successor of what `of` says of each token's stream.
  template <typename Of>
  double mean_over_tokens(Of&& of) {
    double sum = 0, tokens = 0;
    for (std::size_t context = 0; context < data_.contexts(); ++context) {
      const ContextInput input = data_.corpus().input(context);
      for (std::size_t s = 1; s < input.segment_starts.size(); ++s)
        for (std::size_t i = input.segment_starts[s - 1]; i + 1 < input.segment_starts[s]; ++i) {
          ++tokens;
          if (input.slots.excluded[i] == 0) sum += of(MovedStream::stream_of(input.ids[i]));
        }
    }
    tokens_ = tokens;
    return sum / tokens;
  }
  static double squared_distance_from(float centre, const std::vector<float>& row) {
    double sum = 0;
    for (const float value : row) sum += std::pow(double(value) - double(centre), 2);
    return sum;
  }

  test::MovedStreamCorpus data_{"spliced_loss_test", 10};  // two calls, several panels of tokens
  MovedStream model_;
  Communicator alone_ = Communicator::loopback();
  SharedStop stop_{alone_};
  double tokens_ = 0;
  bool transcoder_ = false;
};

// From a third of what it reads, and 2 where it read nothing.
class ThirdOfInput final : public Reconstructor {
 public:
  [[nodiscard]] std::size_t components() const override { return 1; }
  void reconstruct(TensorView<const float> x, std::span<const std::uint8_t>, SparseActs& acts,
                   TensorView<float> x_hat) override {
    acts.row_starts.assign(x.axis(0) + 1, 0);
    for (std::size_t row = 0; row < x.axis(0); ++row)
      for (std::size_t d = 0; d < x_hat.axis(1); ++d)
        x_hat.row(row)[d] = d < x.axis(1) ? x.row(row)[d] / 3 : 2;
  }
};

TEST_F(SplicedLossOfMovedStream, of_a_transcoder_reads_one_hook_and_replaces_a_later_one) {
  transcoder_ = true;
  ThirdOfInput transcoder;
  const double moved = mean_over_tokens([](const std::vector<float>& row) {
    return squared_distance_from(2, {row.begin() + MovedStream::kInputDim, row.end()});
  });
  const double zero =
      mean_over_tokens([](const std::vector<float>& row) { return squared_distance_from(0, row); });

  const MetricReport found = report(transcoder);

  EXPECT_GT(moved, 0.5);
  EXPECT_NEAR(found.of("delta_ce").value, moved, 1e-4);
  EXPECT_NEAR(found.of("ce_zero").value, 1 + zero, 1e-4);
}

TEST_F(SplicedLossOfMovedStream, of_a_transcoder_lets_the_sinks_of_either_hook_pass_unchanged) {
  transcoder_ = true;
  ThirdOfInput transcoder;
  for (HookCalibration* hook : {&data_.input_hook(), &data_.hook()}) {
    const double before = std::exchange(hook->sink_threshold, 0);  // every row is one

    const MetricReport found = report(transcoder);

    EXPECT_EQ(found.of("delta_ce").value, 0) << hook->hook;
    EXPECT_EQ(found.of("ce_zero").value, found.of("ce_clean").value) << hook->hook;
    hook->sink_threshold = before;
  }
}

TEST_F(SplicedLossOfMovedStream, is_the_loss_and_the_divergence_known_by_hand) {
  Shifted sae(0.5F);
  const double moved = MovedStream::kDim * 0.25;
  const auto mean_of = [&](auto&& of_moved, float centre) {
    return mean_over_tokens([&](const std::vector<float>& row) {
      return of_moved(squared_distance_from(centre, row));
    });
  };
  const auto itself = [](double distance) { return distance; };
  const double included = mean_over_tokens([](const auto&) { return 1.0; });
  const double ce_zero = mean_of(itself, 0), ce_mean = mean_of(itself, 2);
  const double kl_zero = mean_of(MovedStream::divergence_of, 0),
               kl_mean = mean_of(MovedStream::divergence_of, 2);

  const MetricReport found = report(sae);

  EXPECT_LT(included, 1);  // a BOS row has a successor, and passes unchanged
  EXPECT_EQ(found.rows, static_cast<std::uint64_t>(tokens_));
  EXPECT_EQ(found.documents, 40U);
  EXPECT_NEAR(found.of("ce_clean").value, 1, 1e-6);
  EXPECT_NEAR(found.of("ce_sae").value, 1 + included * moved, 1e-5);
  EXPECT_NEAR(found.of("delta_ce").value, included * moved, 1e-5);
  EXPECT_NEAR(found.of("ce_zero").value, 1 + ce_zero, 1e-4);
  EXPECT_NEAR(found.of("ce_mean").value, 1 + ce_mean, 1e-4);
  EXPECT_NEAR(found.of("ce_recovered_zero").value, 1 - included * moved / ce_zero, 1e-5);
  EXPECT_NEAR(found.of("ce_recovered_mean").value, 1 - included * moved / ce_mean, 1e-5);
  const double kl_sae = included * MovedStream::divergence_of(moved);
  EXPECT_NEAR(found.of("kl_sae").value, kl_sae, 1e-5);
  EXPECT_NEAR(found.of("kl_zero").value, kl_zero, 1e-4);
  EXPECT_NEAR(found.of("kl_mean").value, kl_mean, 1e-4);
  EXPECT_NEAR(found.of("kl_score_zero").value, 1 - kl_sae / kl_zero, 1e-5);
  EXPECT_NEAR(found.of("kl_score_mean").value, 1 - kl_sae / kl_mean, 1e-5);
}

TEST_F(SplicedLossOfMovedStream, of_a_perfect_reconstruction_is_nothing) {
  Shifted sae(0);

  const MetricReport found = report(sae);

  EXPECT_EQ(found.of("delta_ce").value, 0);
  EXPECT_EQ(found.of("kl_sae").value, 0);
  EXPECT_EQ(found.of("ce_recovered_zero").value, 1);
  EXPECT_EQ(found.of("kl_score_mean").value, 1);
}

TEST_F(SplicedLossOfMovedStream, lets_sinks_pass_unchanged_and_asks_for_none_of_them) {
  data_.hook().sink_threshold = 0;  // every row is one
  Shifted sae(0.5F);

  const MetricReport found = report(sae);

  EXPECT_EQ(found.of("delta_ce").value, 0);
  EXPECT_EQ(sae.asked(), 0U);
}

TEST_F(SplicedLossOfMovedStream, keeps_to_its_budget_of_tokens) {
  Shifted sae(0.5F);

  const MetricReport found = report(sae, 40);

  EXPECT_GT(found.rows, 20U);
  EXPECT_LE(found.rows, 40U);
}

TEST_F(SplicedLossOfMovedStream, runs_the_model_without_an_sae_once_for_all_of_them) {
  const SplicedLoss loss = made();
  const int without = model_.runs();
  Shifted one(0.5F), other(0.25F);

  (void)loss.collective_report(one, "one", stop_, alone_);
  (void)loss.collective_report(other, "other", stop_, alone_);

  EXPECT_EQ(without % 3, 0);  // clean, zero, mean; of each batch
  EXPECT_EQ(model_.runs(), without + 2 * without / 3);
}

TEST_F(SplicedLossOfMovedStream, names_the_sae_when_a_loss_is_no_number) {
  Shifted sae(std::nanf(""));
  try {
    (void)report(sae);
    FAIL() << "accepted";
  } catch (const NumericalError& error) {
    EXPECT_NE(std::string(error.what()).find("cross-entropy with SAE 'small': the loss of token"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace refract
