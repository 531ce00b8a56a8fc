#include "refract/stages/selftest.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "refract/base/parallel.hpp"
#include "refract/sae/variant.hpp"
#include "support/planted_truth.hpp"

namespace refract {
namespace {

// On one thread: in thousands of tiny loops threads would only wait for each other.
TruthReport report_of(const TruthTestConfig& config) {
  const int threads = thread_count();
  set_thread_count(1);
  Communicator one = Communicator::loopback();
  TruthReport report = collective_truth_test(config, one);
  set_thread_count(threads);
  return report;
}

class SelftestTruth : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { report_ = report_of(test::small_truth_test()); }
  static TruthReport report_;
};
TruthReport SelftestTruth::report_;

TEST_F(SelftestTruth, has_a_row_for_every_variant_between_random_and_oracle) {
  ASSERT_EQ(report_.rows.size(), variant_names().size() + 2);
  EXPECT_EQ(report_.rows.front().name, "random");
  for (std::size_t i = 0; i < variant_names().size(); ++i)
    EXPECT_EQ(report_.rows[i + 1].name, variant_names()[i]);
  EXPECT_EQ(report_.rows.back().name, "oracle");
}

TEST_F(SelftestTruth, gives_the_oracle_full_marks) {
  const TruthRow& oracle = report_.of("oracle");

  EXPECT_NEAR(oracle.r2, 1, 1e-9);
  EXPECT_EQ(oracle.scores.precision, 1);
  EXPECT_EQ(oracle.scores.recall, 1);
  EXPECT_EQ(oracle.scores.f1, 1);
  EXPECT_EQ(oracle.scores.uniqueness, 1);
  EXPECT_NEAR(oracle.scores.mcc, 1, 1e-12);
  const double planned = PlantedTruth(report_.config.planted).mean_active();
  EXPECT_NEAR(oracle.l0, planned, 0.1 * planned);
}

// By chance a feature fires in l0 / F of the rows, and so does its best true feature; random
// directions in 32 dimensions have a best |cosine| of about one half.
TEST_F(SelftestTruth, gives_the_random_dictionary_what_chance_gives) {
  const TruthRow& random = report_.of("random");

  EXPECT_LT(random.scores.f1, 0.3);
  EXPECT_LT(random.scores.mcc, 0.55);
  EXPECT_LT(random.r2, 0.6);
}

TEST_F(SelftestTruth, finds_that_every_variant_learns) {
  EXPECT_TRUE(report_.failures.empty()) << describe(report_);
  for (const std::string_view variant : variant_names()) {
    const TruthRow& row = report_.of(std::string(variant));
    EXPECT_GT(row.r2, 0.8) << variant;
    EXPECT_GT(row.scores.f1, kClearF1 * report_.of("random").scores.f1) << variant;
  }
  EXPECT_NE(describe(report_).find("passed"), std::string::npos);
}

TEST_F(SelftestTruth, says_in_json_what_the_table_says) {
  const auto json = nlohmann::json::parse(to_json(report_));

  EXPECT_EQ(json["passed"], true);
  ASSERT_EQ(json["dictionaries"].size(), report_.rows.size());
  for (std::size_t i = 0; i < report_.rows.size(); ++i) {
    EXPECT_EQ(json["dictionaries"][i]["name"], report_.rows[i].name);
    EXPECT_EQ(json["dictionaries"][i]["f1"], report_.rows[i].scores.f1);
  }
}

TEST(Selftest, names_every_variant_that_does_not_learn) {
  TruthTestConfig config = test::small_truth_test();
  config.lr = 1e-9;
  config.steps = 20;

  const TruthReport report = report_of(config);

  EXPECT_EQ(report.failures.size(), variant_names().size());
  EXPECT_NE(describe(report).find("FAILED: topk"), std::string::npos) << describe(report);
  EXPECT_EQ(nlohmann::json::parse(to_json(report))["passed"], false);
}

}  // namespace
}  // namespace refract
