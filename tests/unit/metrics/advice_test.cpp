#include "refract/metrics/advice.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "refract/base/error.hpp"
#include "refract/sae/variant.hpp"

namespace refract {
namespace {

const std::string kEntry =
    "advice: 1\n"
    "metrics:\n"
    "  - metric: density\n"
    "    title: density\n"
    "    meaning: \"A sentence.\"\n";

std::string refusal(const std::string& text) {
  try {
    (void)Advice::from_text(text, "mine.yaml");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

void expect_refused(const std::string& more, const std::vector<std::string>& words) {
  const std::string said = refusal(kEntry + more);
  for (const std::string& word : words)
    EXPECT_NE(said.find(word), std::string::npos) << "no '" << word << "' in: " << said;
}

TEST(Advice, is_the_file_of_the_sources) {
  std::ifstream file(REFRACT_SOURCE_DIR "/configs/advice.yaml", std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();

  ASSERT_FALSE(text.str().empty());
  EXPECT_EQ(Advice::text(), text.str());
  EXPECT_EQ(Advice::load("").digest(),
            Advice::load(REFRACT_SOURCE_DIR "/configs/advice.yaml").digest());
}

TEST(Advice, has_a_sentence_for_every_metric) {
  const Advice advice = Advice::load("");

  for (const std::string_view metric : advised_metrics()) {
    const AdviceRule* rule = advice.find(metric);
    ASSERT_NE(rule, nullptr) << metric;
    EXPECT_FALSE(rule->title.empty()) << metric;
    EXPECT_TRUE(rule->meaning.ends_with('.')) << metric << ": " << rule->meaning;
  }
  EXPECT_EQ(advice.rules().size(), advised_metrics().size());
}

// A verdict that is not good comes with a fix, whatever is trained.
TEST(Advice, has_a_fix_for_every_variant_on_every_side_that_a_rule_can_take) {
  const Advice advice = Advice::load("");
  std::size_t sides = 0;
  for (const AdviceRule& rule : advice.rules()) {
    const auto compares = [&](std::string_view expected) {
      return std::ranges::any_of(rule.compare,
                                 [&](const auto& other) { return other.expected == expected; });
    };
    const bool high = rule.good.high || rule.red_above || compares("at_most"),
               low = rule.good.low || rule.red_below || compares("at_least");
    for (const auto& [can, fixes] : {std::pair{high, rule.too_high}, {low, rule.too_low}}) {
      if (!can) continue;
      ++sides;
      ASSERT_FALSE(fixes.empty()) << rule.id;
      // Also for variants to come.
      EXPECT_TRUE(fixes.back().variants.empty()) << rule.id;
    }
  }
  EXPECT_GE(sides, 10U);
}

TEST(Advice, names_only_variants_that_there_are) {
  const std::vector<std::string_view> known = variant_names();
  const Advice advice = Advice::load("");
  for (const AdviceRule& rule : advice.rules())
    for (const auto* fixes : {&rule.too_high, &rule.too_low})
      for (const AdviceFix& fix : *fixes)
        for (const std::string& variant : fix.variants)
          EXPECT_NE(std::ranges::find(known, variant), known.end()) << rule.id << ": " << variant;
}

TEST(Advice, names_the_penalty_to_those_alone_who_live_by_it) {
  const Advice advice = Advice::load("");
  std::size_t named = 0;
  for (const AdviceRule& rule : advice.rules())
    for (const auto* fixes : {&rule.too_high, &rule.too_low})
      for (const AdviceFix& fix : *fixes) {
        if (fix.text.find("penalty.") == std::string::npos) continue;
        ++named;
        ASSERT_FALSE(fix.variants.empty()) << rule.id;
        for (const std::string& variant : fix.variants)
          EXPECT_TRUE(variant == "relu" || variant == "gated" || variant == "jumprelu")
              << rule.id << ": " << variant;
      }
  EXPECT_GE(named, 5U);
}

TEST(Advice, changes_its_digest_with_a_rule_and_not_with_a_comment) {
  const Advice before = Advice::from_text(kEntry + "    id: d\n    good: {high: 0.1}\n", "a");

  EXPECT_EQ(
      before.digest(),
      Advice::from_text("# Mine.\n" + kEntry + "    id: d\n    good:\n      high: 0.10\n", "b")
          .digest());
  EXPECT_NE(before.digest(),
            Advice::from_text(kEntry + "    id: d\n    good: {high: 0.11}\n", "a").digest());
  EXPECT_NE(before.digest(),
            Advice::from_text(kEntry + "    id: d\n    good: {low: 0.1}\n", "a").digest());
}

TEST(Advice, refuses_an_unknown_key_by_file_and_line) {
  expect_refused("    godo: {high: 0.1}\n", {"mine.yaml:6", "godo", "allowed"});
}

TEST(Advice, refuses_a_metric_that_there_is_not) {
  expect_refused("    id: d\n    compare: [{with: pca.r3}]\n", {"mine.yaml:7", "pca.r3", "r2"});
  expect_refused("    see: [densty]\n", {"mine.yaml:6", "densty"});
  EXPECT_NE(refusal("advice: 1\nmetrics:\n  - {metric: l1, title: a, meaning: b}\n")
                .find("mine.yaml:3: metric is 'l1'"),
            std::string::npos);
}

TEST(Advice, refuses_bounds_that_cross) {
  expect_refused("    id: d\n    good: {low: 2, high: 1}\n", {"mine.yaml:7", "low at most high"});
  expect_refused("    id: d\n    good: {high: 1}\n    red_above: 0.5\n", {"mine.yaml:8"});
  expect_refused("    id: d\n    good: {low: 1}\n    red_below: 1.5\n", {"mine.yaml:8"});
}

TEST(Advice, refuses_a_rule_without_an_id_or_without_bounds) {
  expect_refused("    good: {low: 1}\n", {"mine.yaml:3", "id"});
  expect_refused("    id: d\n", {"mine.yaml:6", "no bounds"});
}

TEST(Advice, refuses_a_metric_or_an_id_given_twice) {
  const std::string again =
      "    id: d\n    good: {low: 1}\n  - metric: l0\n    title: a\n    meaning: b\n    id: d\n"
      "    good: {low: 1}\n";
  expect_refused(again, {"mine.yaml:11", "'d'"});
  expect_refused("  - metric: density\n    title: a\n    meaning: b\n", {"mine.yaml:6", "already"});
}

TEST(Advice, refuses_fixes_that_are_never_given) {
  expect_refused("    too_high: [{do: a}, {for: [relu], do: b}]\n", {"mine.yaml:6", "last"});
  expect_refused("    too_high: [{for: [relu]}]\n", {"mine.yaml:6", "do"});
}

TEST(Advice, refuses_a_file_that_is_something_else) {
  EXPECT_NE(refusal("metrics: []\n").find("advice: 1"), std::string::npos);
  EXPECT_NE(refusal("advice: 2\n").find("mine.yaml:1"), std::string::npos);
  EXPECT_THROW((void)Advice::load("/no/such/advice.yaml"), ConfigError);
}

}  // namespace
}  // namespace refract
