#include "refract/stages/evaluation_text.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "refract/base/error.hpp"
#include "support/example_evaluation.hpp"

namespace refract {
namespace {

std::string text_of(double r2 = 0.6638) { return test::example_evaluation_text(r2); }

const EvaluationRow& row(const std::vector<EvaluationRow>& rows, std::string_view metric) {
  const auto found = std::ranges::find(rows, metric, &EvaluationRow::metric);
  EXPECT_NE(found, rows.end()) << metric;
  return *found;
}

TEST(EvaluationText, has_beside_each_number_its_interval_its_verdict_and_a_sentence) {
  const std::vector<EvaluationRow> rows = evaluation_rows(text_of(), Advice::load(""), nullptr);

  EXPECT_EQ(row(rows, "r2").documents, "0.65 to 0.68");
  EXPECT_EQ(row(rows, "density").verdict, "watch, below");
  EXPECT_EQ(row(rows, "dead_rate").verdict, "too high");
  for (const EvaluationRow& of : rows) EXPECT_FALSE(of.sentence.empty()) << of.metric;
}

TEST(EvaluationText, tells_a_person_what_to_change_and_what_loss_was_measured_on) {
  const std::string text = describe_evaluation(text_of(), Advice::load(""), nullptr);

  EXPECT_NE(text.find("one: topk, 2560 features of 640 dimensions (x4)"), std::string::npos);
  EXPECT_NE(text.find("held-out rows: 90000 rows of 400 documents"), std::string::npos) << text;
  EXPECT_NE(text.find("7000 predicted tokens of 40 documents"), std::string::npos);
  EXPECT_NE(text.find("640"), std::string::npos);
  EXPECT_NE(text.find("is 0.5582: too high"), std::string::npos) << text;
  EXPECT_EQ(text.find("penalty.coefficient"), std::string::npos) << "L1 is no knob under TopK";
}

// Student's t with two degrees of freedom: 4.303 sd / sqrt(3).
TEST(EvaluationText, gives_the_interval_over_seeds_its_own_column) {
  const std::vector<std::string> texts{text_of(0.66), text_of(0.68), text_of(0.67)};

  const SeedFamily family = seed_family({"a", "b", "c"}, texts);

  const SeedInterval r2 = family.numbers.at("inference.r2");
  EXPECT_NEAR(r2.mean, 0.67, 1e-12);
  EXPECT_NEAR(r2.high - r2.mean, 4.303 * 0.01 / std::sqrt(3), 1e-5);
  EXPECT_NEAR(r2.mean - r2.low, r2.high - r2.mean, 1e-12);
  EXPECT_EQ(family.numbers.at("baselines.pca_topk.r2").low, 0.6);
  EXPECT_FALSE(family.numbers.contains("inference.r2_lo"));
  const std::string text = describe_evaluation(texts[0], Advice::load(""), &family);
  EXPECT_NE(text.find("over 3 seeds"), std::string::npos);
  EXPECT_NE(text.find("over seeds (a, b, c)"), std::string::npos);
  EXPECT_EQ(row(evaluation_rows(texts[0], Advice::load(""), &family), "r2").seeds,
            "0.64516 to 0.69484");
}

TEST(EvaluationText, refuses_what_is_no_evaluation) {
  for (const char* text : {"", "{", "{}", "[1]", "{\"schema\": \"statistics\"}",
                           "{\"schema\": \"evaluation\", \"inference\": {\"rows\": \"many\"}}"})
    EXPECT_THROW(expect_evaluation(text), DataError) << text;
  EXPECT_NO_THROW(expect_evaluation(text_of()));
}

}  // namespace
}  // namespace refract
