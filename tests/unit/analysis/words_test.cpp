#include "refract/analysis/words.hpp"

#include <gtest/gtest.h>
#include <unicode/ubrk.h>

#include <random>
#include <string>
#include <vector>

#include "analysis/character.hpp"

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

TEST(Words, keep_joiners_that_choose_the_shapes_of_letters) {
  EXPECT_EQ(texts("می\u200cخواهم کتاب\u200cها"),
            (Words{"می\u200cخواهم", "کتاب\u200cها"}));                       // Persian
  EXPECT_EQ(texts("क्\u200dष अनिवार्यतः"), (Words{"क्\u200dष", "अनिवार्यतः"}));  // Hindi
  EXPECT_EQ(texts("ශ්\u200dරී ලංකාව"), (Words{"ශ්\u200dරී", "ලංකාව"}));          // Sinhala
  EXPECT_EQ(texts("ᠠᠮᠠ\u180eᠠ"), (Words{"ᠠᠮᠠ\u180eᠠ"}));                     // Mongolian
}

TEST(Words, leave_out_joiners_and_other_format_characters_at_their_end) {
  const auto words = words_in("ab\u200c cd\u200d\u00ad\u200e, \u2060ef");

  EXPECT_EQ(texts("ab\u200c cd\u200d\u00ad\u200e, \u2060ef"), (Words{"ab", "cd", "ef"}));
  EXPECT_EQ(words[0].end, 2u);
  EXPECT_EQ(words[1].end - words[1].begin, 2u);
  EXPECT_EQ(words[2].end - words[2].begin, 2u);
}

TEST(Words, of_malayalam_keep_a_final_chillu_in_either_spelling) {
  const std::string composed = "\u0d05\u0d35\u0d7b", joined = "\u0d05\u0d35\u0d28\u0d4d\u200d";

  EXPECT_EQ(texts(composed + " " + joined), (Words{composed, joined}));
  EXPECT_EQ(texts("\u0d05\u0d35\u0d28\u0d4d\u200c"), (Words{"\u0d05\u0d35\u0d28\u0d4d"}));
}

TEST(Words, do_not_store_what_never_shows) {
  EXPECT_EQ(texts("hyphen\u00adation co\u2060op Stra\u034fße ab\u200e\u00adcd"),
            (Words{"hyphenation", "coop", "straße", "abcd"}));
  EXPECT_EQ(texts("Dar\u00adwin\u00ad\u2019\u00ads O'\u00adNeil"), (Words{"darwin", "o'neil"}));
  EXPECT_EQ(words_in("hyphen\u00adation")[0].end, 13u);
}

TEST(Words, end_at_a_zero_width_space) { EXPECT_EQ(texts("ab\u200bcd"), (Words{"ab", "cd"})); }

TEST(Words, keep_variation_selectors_as_marks) {
  EXPECT_EQ(texts("ᠠ\u180bᠮ"), (Words{"ᠠ\u180bᠮ"}));
}

TEST(Words, keep_a_middle_dot_between_two_letters_alone) {
  EXPECT_EQ(texts("Col·lega, l\u0301·l \u0387λα·γα· ·ab ab··cd a\u2027b"),
            (Words{"col·lega", "l\u0301·l", "λα·γα", "ab", "ab", "cd", "a\u2027b"}));
}

TEST(Words, end_at_colons_and_full_stops) {
  EXPECT_EQ(texts("note:this end.Next"), (Words{"note", "this", "end", "next"}));
}

TEST(Words, of_hebrew_keep_geresh_and_gershayim) {
  EXPECT_EQ(texts("צה\u05f4ל צה\"ל"), (Words{"צה\u05f4ל", "צה\u05f4ל"}));
  EXPECT_EQ(texts("שלום\"abc"), (Words{"שלום", "abc"}));
  EXPECT_EQ(texts("צ\u05f3יפס ר\u05f3 צ'יפס"), (Words{"צ\u05f3יפס", "ר\u05f3", "צ'יפס"}));
  EXPECT_EQ(texts("\"של\" ab\"cd"), (Words{"של", "ab", "cd"}));
}

// What ICU's dictionaries decide.
class DividedWords : public ::testing::Test {
 protected:
  void SetUp() override {
    UErrorCode code = U_ZERO_ERROR;
    ubrk_close(ubrk_open(UBRK_WORD, "", nullptr, 0, &code));
    if (U_FAILURE(code)) GTEST_SKIP() << "this ICU has no word breaks: " << u_errorName(code);
  }
};

TEST_F(DividedWords, are_those_of_a_clause_without_blanks) {
  EXPECT_EQ(texts("ภาษาไทยเป็นภาษา"), (Words{"ภาษา", "ไทย", "เป็น", "ภาษา"}));
  EXPECT_EQ(texts("北京大学的化学系"), (Words{"北京", "大学", "的", "化学", "系"}));
  EXPECT_EQ(texts("日本語の文章を単語に分ける"),
            (Words{"日本語", "の", "文章", "を", "単語", "に", "分ける"}));
}

TEST_F(DividedWords, fill_a_clause_of_khmer_lao_or_burmese) {
  for (const std::string clause :
       {"ភាសាខ្មែរគឺជាភាសារបស់ប្រទេសកម្ពុជា", "ພາສາລາວເປັນພາສາ", "မြန်မာဘာသာစကားသည်"}) {
    const auto words = words_in(clause);

    EXPECT_GT(words.size(), 2u) << clause;
    std::size_t end = 0;
    for (const WordSpan& span : words) {
      EXPECT_EQ(span.begin, end);
      end = span.end;
      EXPECT_EQ(span.word, clause.substr(span.begin, span.end - span.begin));
    }
    EXPECT_EQ(end, clause.size());
  }
}

TEST_F(DividedWords, end_where_the_script_changes) {
  const auto words = words_in("the ABC公司的iPhone。");

  EXPECT_EQ(texts("the ABC公司的iPhone。"), (Words{"the", "abc", "公司", "的", "iphone"}));
  EXPECT_EQ(words[1].begin, 4u);
  EXPECT_EQ(words[2].begin, 7u);
  EXPECT_EQ(words[3].begin, 13u);
  EXPECT_EQ(words[4].begin, 16u);
  EXPECT_EQ(words[4].end, 22u);
}

TEST_F(DividedWords, follow_a_digit_one_by_one) {
  EXPECT_EQ(texts("1998年北京大学, 3Dプリンター"), (Words{"北京", "大学", "プリンター"}));
}

TEST_F(DividedWords, do_not_hold_the_dots_and_apostrophes_between_them) {
  EXPECT_EQ(texts("卡尔·北京 日'本 東京のDarwin's"),
            (Words{"卡尔", "北京", "日", "本", "東京", "の", "darwin"}));
}

TEST_F(DividedWords, end_at_bytes_that_are_not_utf8) {
  EXPECT_EQ(texts("北京\xE5\x8C大学"), (Words{"北京", "大学"}));
}

TEST_F(DividedWords, are_what_a_window_of_their_clause_holds) {
  WordCorpus corpus;  // tokens: "北京" "大" "学的" "化学系"
  const std::vector<ByteSpan> tokens{{0, 6}, {6, 9}, {9, 15}, {15, 24}};
  corpus.add(7, "北京大学的化学系", tokens);

  EXPECT_EQ(window_texts(corpus, 0, 0), (Words{"北京"}));
  EXPECT_EQ(window_texts(corpus, 1, 0), (Words{"大学"}));
  EXPECT_EQ(window_texts(corpus, 2, 0), (Words{"大学", "的"}));
}

// Texts of characters that words treat differently, ill-formed bytes among them.
std::string random_text(std::mt19937& random) {
  static const std::vector<std::string> kPieces{
      "a",      "B",      "s",      "é",      "\u0301", "\u0e32", "\u0e20", "ษ",        "京",
      "大",     "の",     "ア",     "ー",     "々",     "ក",      "\u17d2", "မ",        "ລ",
      "ש",      "\u05f3", "\u05f4", "\"",     "'",      "\u2019", "·",      "\u2027",   "\u200b",
      "\u200c", "\u200d", "\u00ad", "\u2060", "\u034f", "\ufe0f", "\u180e", "ക",        "\u0d4d",
      "한",     "7",      " ",      ".",      ":",      "\n",     "\xFF",   "\xE5\x8C", "😀"};
  std::string text;
  for (std::size_t length = random() % 40; length != 0; --length)
    text += kPieces[random() % kPieces.size()];
  return text;
}

std::vector<bool> character_boundaries(std::string_view text) {
  std::vector<bool> boundary(text.size() + 1, false);
  boundary[0] = true;
  for (std::size_t at = 0; at < text.size();) boundary[at = character_at(text, at).end] = true;
  return boundary;
}

TEST(Words, lie_on_character_boundaries_ascend_and_do_not_overlap) {
  std::size_t words = 0;
  for (std::uint32_t seed = 0; seed < 5000; ++seed) {
    std::mt19937 random(seed);
    const std::string text = random_text(random);
    SCOPED_TRACE(testing::Message() << "seed " << seed << ": " << text);
    const std::vector<bool> boundary = character_boundaries(text);

    std::size_t end = 0;
    for (const WordSpan& span : words_in(text)) {
      ASSERT_GE(span.begin, end);
      ASSERT_GT(span.end, span.begin);
      ASSERT_LE(span.end, text.size());
      ASSERT_TRUE(boundary[span.begin] && boundary[span.end]);
      ASSERT_GT(span.word.size(), 1u);
      end = span.end;
      ++words;
    }
  }
  EXPECT_GT(words, 5000u);
}

TEST(Words, do_not_depend_on_the_text_beyond_a_blank) {
  for (std::uint32_t seed = 0; seed < 1000; ++seed) {
    std::mt19937 random(seed);
    const std::string left = random_text(random) + " ", right = random_text(random);
    SCOPED_TRACE(testing::Message() << "seed " << seed << ": " << left << right);

    Words apart = texts(left);
    for (std::string& word : texts(right)) apart.push_back(std::move(word));

    ASSERT_EQ(texts(left + right), apart);
  }
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
