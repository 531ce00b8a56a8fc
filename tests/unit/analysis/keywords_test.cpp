#include "refract/analysis/keywords.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace refract {
namespace {

TEST(Keywords, have_the_log_odds_and_z_of_the_formula) {
  const Background background{{100, 900}, 1000};
  const std::vector<WordCount> foreground{{0, 30, 10}, {1, 70, 10}};
  KeywordRules rules;
  rules.prior_words = 50;  // a = 5 and 45

  const auto keywords = log_odds_keywords(foreground, 100, background, rules);

  ASSERT_EQ(keywords.size(), 1u);  // the other word is rarer than expected
  const double delta = std::log(35.0 / 115.0) - std::log(105.0 / 945.0);
  EXPECT_NEAR(keywords[0].log_odds, delta, 1e-12);
  EXPECT_NEAR(keywords[0].z, delta / std::sqrt(1 / 35.0 + 1 / 105.0), 1e-12);
}

TEST(Keywords, rank_a_well_attested_word_above_a_very_rare_one) {
  // Word 0: in every other window and 20 times too frequent. Word 1: 4 times here, nowhere else.
  const Background background{{500, 4, 999'496}, 1'000'000};
  const std::vector<WordCount> foreground{{0, 40, 30}, {1, 4, 4}, {2, 3956, 60}};

  const auto keywords = log_odds_keywords(foreground, 4000, background);

  ASSERT_GE(keywords.size(), 1u);
  EXPECT_EQ(keywords[0].word, 0u);
  ASSERT_EQ(keywords.size(), 2u);
  EXPECT_LT(keywords[1].z, keywords[0].z / 2);
}

TEST(Keywords, are_never_words_of_one_document_alone) {
  const Background background{{20, 999'980}, 1'000'000};
  const std::vector<WordCount> repeated{{0, 20, 1}}, spread{{0, 20, 20}};

  EXPECT_TRUE(log_odds_keywords(repeated, 4000, background).empty());
  EXPECT_EQ(log_odds_keywords(spread, 4000, background).size(), 1u);
}

TEST(Keywords, leave_out_a_word_as_frequent_as_everywhere) {
  const Background background{{100'000, 900'000}, 1'000'000};
  const std::vector<WordCount> foreground{{0, 402, 60}, {1, 3598, 60}};

  EXPECT_TRUE(log_odds_keywords(foreground, 4000, background).empty());
}

TEST(Keywords, are_at_most_the_limit_and_ties_go_to_the_lower_word) {
  Background background{std::vector<std::uint64_t>(40, 10), 1'000'000};
  std::vector<WordCount> foreground;
  for (std::uint32_t w = 0; w < 40; ++w) foreground.push_back({w, 8, 5});

  const auto keywords = log_odds_keywords(foreground, 4000, background);

  ASSERT_EQ(keywords.size(), 30u);
  for (std::uint32_t i = 0; i < 30; ++i) EXPECT_EQ(keywords[i].word, i);
}

}  // namespace
}  // namespace refract
