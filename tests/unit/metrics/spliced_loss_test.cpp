#include "refract/metrics/spliced_loss.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "refract/base/error.hpp"

namespace refract {
namespace {

const std::vector<std::uint64_t> kDocuments{1, 1, 1, 2, 2};
const std::vector<std::uint8_t> kCounted{1, 1, 0, 1, 0};

SplicedLossSums made() {
  return SplicedLossSums({"the model itself", "SAE 'small'", "zero", "mean"});
}

const std::vector<float> kNoKl;

TEST(SplicedLossSums, give_the_recovered_share_by_hand) {
  SplicedLossSums sums = made();
  sums.add(0, std::vector<float>{1, 3, 9, 2, 9}, kNoKl, kCounted, kDocuments);  // clean: mean 2
  sums.add(1, std::vector<float>{2, 3, 9, 4, 9}, std::vector<float>{0.5, 0.25, 9, 1.5, 9}, kCounted,
           kDocuments);  // spliced: 3
  sums.add(2, std::vector<float>{6, 6, 9, 6, 9}, std::vector<float>{3, 3, 9, 3, 9}, kCounted,
           kDocuments);  // zero: 6
  sums.add(3, std::vector<float>{4, 4, 9, 4, 9}, std::vector<float>{1, 2, 9, 1.5, 9}, kCounted,
           kDocuments);  // mean: 4

  const MetricReport report = sums.report({0, 1, 2, 3}, 1, 100);

  EXPECT_EQ(report.rows, 3U);
  EXPECT_EQ(report.documents, 2U);
  EXPECT_DOUBLE_EQ(report.of("ce_clean").value, 2);
  EXPECT_DOUBLE_EQ(report.of("ce_sae").value, 3);
  EXPECT_DOUBLE_EQ(report.of("delta_ce").value, 1);
  EXPECT_DOUBLE_EQ(report.of("ce_recovered_zero").value, 0.75);
  EXPECT_DOUBLE_EQ(report.of("ce_recovered_mean").value, 0.5);
  EXPECT_DOUBLE_EQ(report.of("kl_sae").value, 0.75);
  EXPECT_DOUBLE_EQ(report.of("kl_zero").value, 3);
  EXPECT_DOUBLE_EQ(report.of("kl_mean").value, 1.5);
  EXPECT_DOUBLE_EQ(report.of("kl_score_zero").value, 0.75);
  EXPECT_DOUBLE_EQ(report.of("kl_score_mean").value, 0.5);
  EXPECT_EQ(report.values.size(), 12U);
  // Document 1 alone loses 0.5 nats, document 2 alone 2.
  EXPECT_DOUBLE_EQ(report.of("delta_ce").low, 0.5);
  EXPECT_DOUBLE_EQ(report.of("delta_ce").high, 2);
  EXPECT_DOUBLE_EQ(report.of("kl_sae").low, 0.375);
  EXPECT_DOUBLE_EQ(report.of("kl_sae").high, 1.5);
}

TEST(SplicedLossSums, never_average_over_the_tokens_that_happen_to_be_numbers) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    SplicedLossSums sums = made();
    try {
      sums.add(1, std::vector<float>{1, bad, 9, 2, 9}, kNoKl, kCounted, kDocuments);
      ADD_FAILURE() << "accepted " << bad;
    } catch (const NumericalError& error) {
      EXPECT_NE(std::string(error.what()).find("SAE 'small': the loss of token 1"),
                std::string::npos)
          << error.what();
    }
    EXPECT_NO_THROW(
        sums.add(0, std::vector<float>{1, 3, bad, 2, bad}, kNoKl, kCounted, kDocuments));
  }
}

TEST(SplicedLossSums, leave_out_what_an_ablation_without_effect_would_recover) {
  SplicedLossSums sums = made();
  for (const std::size_t run : {0, 1, 2})
    sums.add(run, std::vector<float>{1, 3, 9, 2, 9}, kNoKl, kCounted, kDocuments);
  sums.add(3, std::vector<float>{4, 4, 9, 4, 9}, std::vector<float>{1, 1, 9, 1, 9}, kCounted,
           kDocuments);

  const MetricReport report = sums.report({0, 1, 2, 3}, 1, 100);

  EXPECT_THROW((void)report.of("ce_recovered_zero"), SystemError);
  EXPECT_DOUBLE_EQ(report.of("ce_recovered_mean").value, 1);
  EXPECT_THROW((void)report.of("kl_score_zero"), SystemError);
  EXPECT_DOUBLE_EQ(report.of("kl_score_mean").value, 1);
}

TEST(SplicedLossSums, never_average_over_divergences_that_are_no_numbers) {
  SplicedLossSums sums = made();
  const std::vector<float> nll{1, 3, 9, 2, 9};
  try {
    sums.add(2, nll, std::vector<float>{0, 1, 1, std::nanf(""), 1}, kCounted, kDocuments);
    ADD_FAILURE() << "accepted";
  } catch (const NumericalError& error) {
    EXPECT_NE(std::string(error.what()).find("zero: the divergence of token 3"), std::string::npos)
        << error.what();
  }
}

TEST(SplicedLossSums, refuse_to_report_on_no_token) {
  EXPECT_THROW((void)made().report({0, 1, 2, 3}, 1, 100), NumericalError);
}

}  // namespace
}  // namespace refract
