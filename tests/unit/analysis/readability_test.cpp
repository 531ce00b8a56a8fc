#include "refract/analysis/readability.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "refract/base/random.hpp"

namespace refract {
namespace {

constexpr std::uint32_t kTokens = 200;     // per document
constexpr std::uint64_t kDocuments = 120;  // the last 40 are held out
constexpr std::uint64_t kTraining = 80;
constexpr std::uint32_t kTopicAt = 90;  // the topic passage of every third document

// Letters for a number, so that each is one word.
std::string name(std::uint64_t n) {
  std::string word = "w";
  for (; n; n /= 26) word.push_back(static_cast<char>('a' + n % 26));
  return word;
}

// Random words; every third document has a passage of topic words around token kTopicAt.
class PlantedCorpus {
 public:
  PlantedCorpus() {
    const std::vector<std::string> topic{"acid", "molecule", "reaction", "carbon", "oxide"};
    const CounterRng rng(Purpose::test, {3});
    for (std::uint64_t d = 0; d < kDocuments; ++d) {
      std::string text;
      std::vector<ByteSpan> tokens;
      for (std::uint32_t t = 0; t < kTokens; ++t) {
        const std::uint64_t draw = rng.bits(d * kTokens + t);
        const bool in_topic = d % 3 == 0 && t + 4 > kTopicAt && t < kTopicAt + 4;
        const std::string word = in_topic ? topic[draw % topic.size()] : name(draw % 800);
        tokens.push_back({text.size(), text.size() + word.size() + 1});
        text += word + " ";
      }
      words.add(d, text, tokens);
    }
    background.counts.resize(words.vocabulary());
    for (std::uint64_t d = 0; d < kTraining; ++d)
      for (const std::uint32_t word : words.words_of(d))
        ++background.counts[word], ++background.total;
    for (std::uint64_t i = 0; i < 2000; ++i)
      negatives.push_back(
          {.document = kTraining + rng.below(1'000'000 + 2 * i, kDocuments - kTraining),
           .document_position = static_cast<std::uint32_t>(rng.below(1'000'001 + 2 * i, kTokens))});
  }

  [[nodiscard]] static Example at(std::uint64_t document, std::uint32_t token,
                                  std::uint32_t token_id) {
    return {{.context = document,
             .document = document,
             .position = token,
             .document_position = token,
             .token = token_id},
            1.0F};
  }
  // Rows of the topic passages; or, for contrast, of random places.
  [[nodiscard]] static std::vector<Example> rows(bool topic, bool heldout, bool one_token = false) {
    const CounterRng rng(Purpose::test, {4, heldout});
    std::vector<Example> rows;
    for (std::uint64_t d = heldout ? kTraining : 0; d < (heldout ? kDocuments : kTraining); ++d) {
      if (topic && d % 3 != 0) continue;
      const auto place = topic ? kTopicAt : static_cast<std::uint32_t>(rng.below(d, kTokens));
      rows.push_back(at(d, place, one_token ? 5 : static_cast<std::uint32_t>(d)));
    }
    return rows;
  }

  WordCorpus words;
  Background background;
  std::vector<TextRow> negatives;
};

TEST(Readability, finds_a_planted_topic_and_names_its_words) {
  const PlantedCorpus corpus;
  const ReadabilityMeasure measure(corpus.words, corpus.background, corpus.negatives);
  std::vector<float> scratch;

  const Readability found =
      measure(PlantedCorpus::rows(true, false), PlantedCorpus::rows(true, true), scratch);

  EXPECT_TRUE(found.scored);
  EXPECT_TRUE(found.readable);
  EXPECT_GT(found.auroc, 0.9);
  ASSERT_GE(found.keywords.size(), 5u);
  for (std::size_t i = 0; i < 5; ++i)
    EXPECT_EQ(corpus.words.word(found.keywords[i].word).find('w'), std::string::npos);
  for (const float weight : scratch) EXPECT_EQ(weight, 0.0F);
}

TEST(Readability, does_not_find_random_rows_readable) {
  const PlantedCorpus corpus;
  const ReadabilityMeasure measure(corpus.words, corpus.background, corpus.negatives);
  std::vector<float> scratch;

  const Readability found =
      measure(PlantedCorpus::rows(false, false), PlantedCorpus::rows(false, true), scratch);

  EXPECT_TRUE(found.scored);
  EXPECT_FALSE(found.readable);
  EXPECT_NEAR(found.auroc, 0.5, 0.2);
}

TEST(Readability, marks_a_feature_of_one_token_and_does_not_count_it) {
  const PlantedCorpus corpus;
  const ReadabilityMeasure measure(corpus.words, corpus.background, corpus.negatives);
  std::vector<float> scratch;

  const Readability found =
      measure(PlantedCorpus::rows(true, false), PlantedCorpus::rows(true, true, true), scratch);

  EXPECT_TRUE(found.single_token);
  EXPECT_EQ(found.frequent_row.token, 5u);
  EXPECT_GT(found.auroc, 0.9);
  EXPECT_FALSE(found.readable);
}

TEST(Readability, is_not_scored_on_too_few_documents) {
  const PlantedCorpus corpus;
  const ReadabilityMeasure measure(corpus.words, corpus.background, corpus.negatives);
  auto firing = PlantedCorpus::rows(true, true);
  firing.resize(7);
  std::vector<float> scratch;

  const Readability found = measure(PlantedCorpus::rows(true, false), firing, scratch);

  EXPECT_FALSE(found.scored);
  EXPECT_TRUE(std::isnan(found.auroc));
  EXPECT_FALSE(found.readable);
  EXPECT_FALSE(found.keywords.empty());
}

}  // namespace
}  // namespace refract
