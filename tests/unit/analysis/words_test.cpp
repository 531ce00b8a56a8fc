#include "refract/analysis/words.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace refract {
namespace {

std::vector<std::string> texts(std::string_view text) {
  std::vector<std::string> words;
  for (const WordSpan& span : words_in(text)) words.push_back(span.word);
  return words;
}

std::vector<std::string> window_texts(const WordCorpus& corpus, std::uint32_t token,
                                      std::uint32_t radius) {
  std::vector<std::string> words;
  for (const std::uint32_t id : corpus.window(7, token, radius)) words.push_back(corpus.word(id));
  return words;
}

using Words = std::vector<std::string>;

TEST(Words, are_runs_of_letters_in_lower_case) {
  EXPECT_EQ(texts("In 1998, Zürich–ÉCOLE (ab2)!"), (Words{"in", "zürich", "école", "ab"}));
}

TEST(Words, keep_an_apostrophe_inside_and_drop_the_possessive) {
  EXPECT_EQ(texts("don't 'quoted' Darwin's Darwin\u2019s O\u2019Neil dogs'"),
            (Words{"don't", "quoted", "darwin", "darwin", "o'neil", "dogs"}));
}

TEST(Words, are_neither_letters_after_a_digit_nor_single_letters) {
  EXPECT_EQ(texts("the 19th of a 3D plan B, 日"), (Words{"the", "of", "plan", "日"}));
}

TEST(Words, end_at_bytes_that_are_not_utf8) {
  EXPECT_EQ(texts(std::string("ab\xFF") + "cd\xC3"), (Words{"ab", "cd"}));
}

TEST(Words, join_the_pieces_of_a_word) {
  WordCorpus corpus;  // tokens: "the" " chem" "istry" " of" " life"
  const std::vector<ByteSpan> tokens{{0, 3}, {3, 8}, {8, 13}, {13, 16}, {16, 21}};
  corpus.add(7, "the chemistry of life", tokens);

  EXPECT_EQ(window_texts(corpus, 1, 0), (Words{"chemistry"}));
  EXPECT_EQ(window_texts(corpus, 2, 0), (Words{"chemistry"}));
  EXPECT_EQ(window_texts(corpus, 2, 1), (Words{"chemistry", "of"}));
  EXPECT_EQ(window_texts(corpus, 3, 12), (Words{"the", "chemistry", "of", "life"}));
}

TEST(Words, of_a_window_of_punctuation_are_none) {
  WordCorpus corpus;
  const std::vector<ByteSpan> tokens{{0, 2}, {2, 4}, {4, 6}};
  corpus.add(7, "ab, cd", tokens);

  EXPECT_EQ(window_texts(corpus, 1, 0), Words{});
  EXPECT_EQ(window_texts(corpus, 0, 0), (Words{"ab"}));
  EXPECT_EQ(window_texts(corpus, 2, 0), (Words{"cd"}));
}

TEST(Words, are_numbered_once_for_all_documents) {
  WordCorpus corpus;
  const std::vector<ByteSpan> tokens{{0, 8}};
  corpus.add(1, "Red blue", tokens);
  corpus.add(2, "blue RED", tokens);

  EXPECT_EQ(corpus.vocabulary(), 2u);
  EXPECT_EQ(corpus.words_of(1)[0], corpus.words_of(2)[1]);
}

}  // namespace
}  // namespace refract
