// The pipelines of the public families, and edits of their files, against the library's answers.
#include <gtest/gtest.h>

#include <functional>

#include "refract/base/error.hpp"
#include "refract/tokenizer/tokenizer.hpp"
#include "support/tokenizer_golden.hpp"

namespace refract {
namespace {

using namespace tokenizer_golden;

class TokenizerFamily : public testing::TestWithParam<std::string> {
 protected:
  const json& family() const {
    for (const json& one : golden()["families"])
      if (one["name"] == GetParam()) return one;
    throw DataError("{} is not in tokenizer_families_golden.json", GetParam());
  }
  const std::unique_ptr<Tokenizer> tokenizer_ = load_tokenizer(file_of(GetParam()));
};

// The end of the character that the byte before `end` belongs to.
std::uint32_t after_character(const std::string& text, std::uint32_t end) {
  while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0u) == 0x80u) ++end;
  return end;
}

TEST_P(TokenizerFamily, gives_the_ids_of_hugging_face) {
  const auto texts = texts_of(family());
  ASSERT_EQ(texts.size(), family()["ids"].size());
  for (const int round : {1, 2})  // the second time the word cache answers
    for (std::size_t i = 0; i < texts.size(); ++i)
      EXPECT_EQ(tokenizer_->encode_ids(texts[i]),
                family()["ids"][i].get<std::vector<std::uint32_t>>())
          << "text " << i << ", round " << round << ": " << texts[i];
}

// Where two tokens share a character the library gives its whole to both; refract says where it is
// divided, or gives it to the second where the first is a space that the tokenizer put in front.
TEST_P(TokenizerFamily, spans_cover_the_text_and_end_where_those_of_hugging_face_do) {
  const auto texts = texts_of(family());
  std::size_t compared = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    std::vector<TokenSpan> spans;
    tokenizer_->encode(texts[i], spans);
    const json& widths = family()["widths"][i];
    std::uint32_t at = 0, expected = 0;
    for (std::size_t k = 0; k < spans.size(); ++k) {
      EXPECT_EQ(spans[k].begin, at) << texts[i];
      EXPECT_LE(at, spans[k].end) << texts[i];
      at = spans[k].end;
      if (widths.is_null() || k >= widths.size()) continue;  // the library leaves characters out
      expected += widths[k].get<std::uint32_t>();
      // A prepended blank has the library's next character, and none of ours.
      const bool nothing = spans[k].begin == at && expected == after_character(texts[i], at + 1);
      EXPECT_TRUE(nothing || expected == after_character(texts[i], at))
          << "token " << k << " ends at " << at << ", the library's at " << expected << ": "
          << texts[i];
      ++compared;
    }
    EXPECT_TRUE(spans.empty() || at == texts[i].size()) << texts[i];
  }
  EXPECT_GT(compared, 5000u);
}

TEST_P(TokenizerFamily, decodes_what_it_encoded_as_hugging_face_does) {
  const auto texts = texts_of(family());
  for (std::size_t i = 0; i < texts.size(); ++i)
    EXPECT_EQ(tokenizer_->decode(tokenizer_->encode_ids(texts[i])),
              family()["decoded"].value(std::to_string(i), texts[i]))
        << "text " << i << ": " << texts[i];
}

TEST_P(TokenizerFamily, gives_the_ids_of_a_megabyte_of_one_kind) {
  const json& recipes = golden()["recipes"];
  for (std::size_t i = 0; i < recipes.size(); ++i)
    EXPECT_EQ(digest_of_ids(*tokenizer_, {text_of(recipes[i])}), family()["long"][i])
        << recipes[i].dump();
}

TEST_P(TokenizerFamily, refuses_what_is_not_utf8) {
  std::vector<std::string> texts = {"\xC3",
                                    "\xC3(",
                                    "\xE2\x82",
                                    "\xF0\x9F\x91",
                                    "a\xE2\x82z",
                                    "\xC0\x80",
                                    "\xC1\xBF",
                                    "\xE0\x80\x80",
                                    "\xE0\x9F\xBF",
                                    "\xF0\x80\x80\x80",
                                    "\xF0\x8F\xBF\xBF",
                                    "\xED\xA0\x80",
                                    "\xED\xBF\xBF",
                                    "\xED\xA0\xBD\xED\xB8\x80",
                                    "\xF4\x90\x80\x80",
                                    "\xF5\x80\x80\x80",
                                    "\xF8\x88\x80\x80\x80",
                                    "\xFC\x84\x80\x80\x80\x80"};
  for (int byte = 0x80; byte < 0x100; ++byte) texts.push_back(std::string(1, char(byte)));
  for (const std::string& text : texts) {
    EXPECT_THROW((void)tokenizer_->encode_ids(text), DataError)
        << json(text).dump(-1, ' ', true, json::error_handler_t::replace);
    EXPECT_THROW((void)tokenizer_->encode_ids("x " + text + " y"), DataError);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, TokenizerFamily,
                         testing::Values("gemma", "gpt2", "llama2", "llama2_metaspace_always",
                                         "llama2_metaspace_first", "llama3", "neox", "qwen3",
                                         "smollm2", "tinystories"),
                         [](const auto& one) { return one.param; });

// What came of an edited file: a digest of ids, or "refused: <why>" by the file or by a text.
std::string outcome(const std::function<std::unique_ptr<Tokenizer>()>& load,
                    const std::vector<std::string>& texts) {
  try {
    const auto tokenizer = load();
    try {
      return digest_of_ids(*tokenizer, texts);
    } catch (const DataError& error) {
      return std::string("refused at a text: ") + error.what();
    }
  } catch (const DataError& error) {
    return std::string("refused: ") + error.what();
  } catch (const std::exception& error) {
    return std::string("no DataError: ") + error.what();
  }
}

void expect_outcome(const json& edit, const std::string& came) {
  const std::string expected = edit["outcome"], refract = edit.value("refract", "");
  const bool refused = came.starts_with("refused: ");
  if (refract == "ignores") {
    EXPECT_FALSE(came.starts_with("no DataError")) << edit["name"] << ": " << came;
  } else if (expected == "refused" || refract == "refuses") {
    EXPECT_TRUE(refused) << edit["name"] << ": " << came;
  } else if (expected == "fails") {
    EXPECT_TRUE(came.starts_with("refused")) << edit["name"] << ": " << came;
  } else if (!(refract == "may refuse" && refused)) {
    EXPECT_EQ(came, expected) << edit["name"];
  }
  if (refused && edit.contains("names")) {
    EXPECT_NE(came.find(edit["names"].get<std::string>()), std::string::npos)
        << edit["name"] << ": " << came;
  }
}

TEST(TokenizerEdits, end_as_with_hugging_face_or_are_refused_by_name) {
  ASSERT_GT(golden()["edits"].size(), 500u);
  for (const json& family : golden()["families"]) {
    const std::string name = family["name"];
    auto texts = golden()["edited_texts"].get<std::vector<std::string>>();
    const auto own = texts_of(family);
    texts.insert(texts.end(), own.begin(), own.end());
    for (const json& edit : golden()["edits"])
      if (edit["of"] == name)
        expect_outcome(
            edit,
            outcome([&] { return load_text(edited(read_file(file_of(name)), edit)); }, texts));
  }
}

TEST(TokenizerPairs, of_vocabulary_and_merges_end_as_with_hugging_face) {
  const auto texts = golden()["texts"].get<std::vector<std::string>>();
  ASSERT_GT(golden()["pairs"].size(), 20u);
  for (const std::vector<std::string>& names :
       {std::vector<std::string>{"vocab.json", "merges.txt"}, {"encoder.json", "vocab.bpe"}})
    for (const json& pair : golden()["pairs"])
      expect_outcome(pair, outcome([&] { return load_pair("gpt2", names, pair["edits"]); }, texts));
}

}  // namespace
}  // namespace refract
