#include "refract/analysis/token_class.hpp"

#include <gtest/gtest.h>

namespace refract {
namespace {

void expect_all(TokenClass expected, std::initializer_list<std::string_view> pieces) {
  for (const std::string_view piece : pieces)
    EXPECT_EQ(token_class(piece), expected)
        << '"' << piece << "\" is "
        << kTokenClassNames[static_cast<std::size_t>(token_class(piece))];
}

TEST(TokenClass, of_letters_after_a_space_or_a_mark_is_a_words_start) {
  expect_all(TokenClass::word_start,
             {" the", " The", "\u00a0the", " \u00e9t\u00e9", " \u043c\u0438\u0440", "\nthe", ".com",
              "(the", " 's", "\u201cThe", " \u4f60\u597d"});
}

TEST(TokenClass, of_letters_alone_is_inside_a_word) {
  expect_all(TokenClass::inside_word,
             {"ing", "The", "a", "'s", "'re", "\u2019s", "\u00e9", "\u0301", "s.", "\u4f60"});
}

TEST(TokenClass, of_a_digit_or_another_number_is_a_number) {
  expect_all(TokenClass::number,
             {"1", " 42", "1990", "\u00bd", "\u00b2", " \u0663", "\u2167", "1st", " 3.14"});
}

TEST(TokenClass, of_marks_and_signs_is_punctuation) {
  expect_all(TokenClass::punctuation, {"!", " --", "...", "$", " =", "'", " '", "\u2014", "\u20ac",
                                       "\U0001f44d", "(1", "_"});
}

TEST(TokenClass, of_spaces_and_line_ends_is_white_space) {
  expect_all(TokenClass::white_space, {" ", "  ", "\n", "\n\n", "\t", "\r\n", "\u3000"});
}

TEST(TokenClass, of_pieces_of_a_character_and_of_controls_is_other) {
  using namespace std::string_view_literals;
  expect_all(TokenClass::other,
             {"", "\xc3", "\xa9", " \xe2\x80", "\x00"sv, "\x7f", " \u200b", "\ufffe"});
}

}  // namespace
}  // namespace refract
