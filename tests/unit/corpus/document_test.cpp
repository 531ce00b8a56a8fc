// Records -> cleaned documents.
#include <functional>

#include "corpus/clean_text.hpp"
#include "refract/base/error.hpp"
#include "unit/corpus/corpus_fixture.hpp"

namespace refract {
namespace {

class Documents : public CorpusTest {
 protected:
  std::vector<Document> read(const std::string& lines, const CleaningRules& rules = keep_short()) {
    std::vector<Document> documents;
    counts_ = read_documents(write("shard.jsonl", lines), rules, documents);
    return documents;
  }
  CorpusCounts counts_;
};

std::string article(const std::string& body) {
  return R"({"name":"Example lake","identifier":4711,"url":"https://example.org/wiki/Example_lake",)"
         R"("abstract":"A lake.","version":{"identifier":99},"is_part_of":{"identifier":"enwiki"},"sections":[)" +
         body + "]}\n";
}

std::string paragraph(const std::string& value) {
  return R"({"type":"paragraph","value":")" + value + "\"}";
}

TEST_F(Documents, put_the_title_first_and_then_the_sections_depth_first) {
  const auto documents = read(article(
      R"({"type":"section","name":"Abstract","has_parts":[{"type":"paragraph","value":"Example lake is a lake."}]},)"
      R"({"type":"section","name":"History","has_parts":[{"type":"paragraph","value":"It was found in 1900."},)"
      R"({"type":"section","name":"Names","has_parts":[{"type":"list","has_parts":[)"
      R"({"type":"list_item","value":"Old name","has_parts":[{"type":"list","has_parts":[)"
      R"({"type":"list_item","value":"Older name"}]}]}]}]},{"type":"paragraph","value":"It is deep."}]},)"
      R"({"type":"definition_list","has_parts":[{"type":"definition_term","value":"Lake"},)"
      R"({"type":"definition","value":"Water"}]})"));
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_EQ(documents[0].text,
            "Example lake\nExample lake is a lake.\nIt was found in 1900.\nOld name\nOlder "
            "name\nIt is deep.\nLake\n"
            "Water");
  EXPECT_EQ(documents[0].title, "Example lake");
  EXPECT_EQ(documents[0].url, "https://example.org/wiki/Example_lake");
  EXPECT_EQ(documents[0].page_id, 4711u);
  EXPECT_EQ(documents[0].revision, 99u);
  EXPECT_EQ(documents[0].project, "enwiki");
}

TEST_F(Documents, leave_out_dropped_sections_with_all_they_contain) {
  const std::string body =
      R"({"type":"section","name":"REFERENCES:","has_parts":[{"type":"paragraph","value":"gone"},)"
      R"({"type":"section","name":"Inner","has_parts":[{"type":"paragraph","value":"gone too"}]}]},)"
      R"({"type":"section","name":"Straße","has_parts":[{"type":"paragraph","value":"gone by folding"}]},)"
      R"({"type":"section","name":"Reference works","has_parts":[{"type":"paragraph","value":"stays"}]})";
  CleaningRules rules = keep_short();
  rules.drop_sections.push_back("STRASSE");
  const auto documents = read(article(body), rules);
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_EQ(documents[0].text, "Example lake\nstays");
}

TEST_F(Documents, skip_tables_images_and_kinds_of_parts_nobody_knows_yet) {
  const auto documents = read(article(
      R"({"type":"table","value":"t","has_parts":[{"type":"paragraph","value":"in a table"}]},)"
      R"({"type":"hologram","value":"h"},{"value":"no type"},17,{"type":"paragraph"},)" +
      paragraph("stays")));
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_EQ(documents[0].text, "Example lake\nstays");
}

TEST_F(Documents, keep_each_linked_address_once) {
  const auto documents = read(article(
      R"({"type":"paragraph","value":"a","links":[{"url":"https://x/1","text":"a"},{"url":"https://x/2"}]},)"
      R"({"type":"table","links":[{"url":"https://x/9"}]},)"
      R"({"type":"list_item","value":"b","links":[{"url":"https://x/1"},{"text":"none"},{"url":"https://x/3"}]})"));
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_EQ(documents[0].links, "https://x/1\nhttps://x/2\nhttps://x/3");
}

TEST_F(Documents, are_read_from_plain_text_records_too) {
  const auto documents = read(
      R"({"id":"12","url":"http://x/12","title":"Anarchism","text":"Anarchism\n\nIs a\tphilosophy.\n\n\nEnd. "})");
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_EQ(documents[0].text, "Anarchism\nIs a philosophy.\nEnd.");
  EXPECT_EQ(documents[0].page_id, 12u);
}

TEST_F(Documents, accept_sections_as_json_text) {
  const auto documents = read(
      R"({"name":"T","identifier":1,"sections":"[{\"type\":\"paragraph\",\"value\":\"inner \\u00e9\"}]"})");
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_EQ(documents[0].text, "T\ninner é");
}

TEST_F(Documents, drop_redirects_but_not_pages_that_mention_the_word) {
  const auto documents =
      read(article(paragraph("#REDIRECT [[Lake]]")) + article(paragraph("Redirecting is an art.")) +
           article(paragraph("A redirect leads elsewhere.")) +
           R"({"name":"R","identifier":5,"abstract":" redirect: Lake","sections":[]})"
           "\n"
           R"({"title":"R","id":6,"text":"R\n#WEITERLEITUNG [[Berlin]]"})");
  EXPECT_EQ(counts_.redirects, 3u);
  EXPECT_EQ(counts_.kept, 2u);
  EXPECT_EQ(documents.size(), 1u) << "the two that stay have one page id";
}

TEST(CleanText, tells_redirects_of_any_language_from_prose_about_them) {
  for (const char* redirect :
       {"#REDIRECT [[Berlin]]", " #redirect: [[Berlin|the city]] ", "#REDIRECTION [[Paris]]",
        "#WEITERLEITUNG [[Berlin]]\n\n[[Category:Cities]]", "#перенаправление [[Москва]]",
        "#転送 [[東京]]", "#ĐỔI [[Hà Nội]] {{R from move}}", "#REDIRECT Berlin", "REDIRECT Berlin",
        "Redirect: Berlin", "redirect [[Berlin]]"})
    EXPECT_TRUE(is_redirect(redirect)) << redirect;
  for (const char* prose :
       {"Redirect examination, in the law of evidence, is the questioning of a witness again.",
        "Redirect-on-write is a technique of storage systems.", "Redirects", "REDIRECT",
        "#redirect", "REDIRECT is a word of command.", "Redirect: a word.\nIt has a page.",
        "#1 [[Hit]]", "#MeToo [[movement]] began in 2017.", "# one\n# two", "", "#",
        "A redirect leads elsewhere."})
    EXPECT_FALSE(is_redirect(prose)) << prose;
}

TEST_F(Documents, shorter_than_the_minimum_are_dropped_counting_characters_not_bytes) {
  CleaningRules rules;
  rules.min_chars = 17;  // "Example lake\néééé" has 17
  EXPECT_EQ(read(article(paragraph("éééé")), rules).size(), 1u);
  EXPECT_EQ(read(article(paragraph("ééé")), rules).size(), 0u);
  EXPECT_EQ(counts_.too_short, 1u);
}

TEST_F(Documents, need_text_and_nothing_else) {
  const auto documents = read(R"({"text":"A plain document."})"
                              "\n"
                              R"({"sections":[{"type":"paragraph","value":"Without a name."}]})"
                              "\n"
                              R"({"text":""})");
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(documents[0].text, "A plain document.");
  EXPECT_EQ(documents[0].title, "");
  EXPECT_EQ(documents[1].text, "Without a name.");
  EXPECT_EQ(counts_.too_short, 1u) << "a document without a character, whatever the minimum";
}

TEST_F(Documents, have_one_page_id_in_whatever_form_it_is_written) {
  for (const char* form : {"12", "12.0", "1.2e1", R"("12")", R"(" 12 ")", R"("12.0")"}) {
    const auto documents = read(fmt::format(R"({{"id":{},"revid":{},"text":"x"}})", form, form));
    ASSERT_EQ(documents.size(), 1u) << form;
    EXPECT_EQ(documents[0].page_id, 12u) << form;
    EXPECT_EQ(documents[0].revision, 12u) << form;
  }
  for (const char* none : {"-12", "12.5", R"("Q12")", R"("1_2")", R"("")", "null", "1e300", "[12]"})
    EXPECT_EQ(read(fmt::format(R"({{"id":{},"text":"x"}})", none)).at(0).page_id, 0u) << none;
}

TEST_F(Documents, that_are_lost_are_counted_by_cause) {
  CleaningRules rules;
  rules.min_chars = 20;
  const auto line = [](int id, const std::string& text) {
    return fmt::format(R"({{"id":{},"title":"T","text":"{}"}})", id, text) + "\n";
  };
  const std::string good = "Long enough to be kept in any case.";
  (void)read(line(1, good) + line(2, good), rules);
  EXPECT_EQ(counts_.losses(), "");

  (void)read(line(1, good) + line(2, "short") + line(3, "short") + line(4, "#REDIRECT [[A]]") +
                 line(1, good) + "{\"id\":5}\n",
             rules);
  EXPECT_EQ(counts_.losses(),
            "1 of 6 records kept; dropped: 2 too short (source.min_chars), 1 redirect, 1 repeated "
            "page (the highest revision is kept), 1 without text or sections");
}

TEST_F(Documents, a_bad_record_is_counted_and_the_rest_is_read) {
  const auto documents = read(R"({"name":"A","identifier":1,"sections":{"not":"a list"}})"
                              "\n[1,2]\n{\"identifier\":3}\n\n{\"name\":\"B\"}\n" +
                              article(paragraph("good")));
  EXPECT_EQ(documents.size(), 1u);
  EXPECT_EQ(counts_.rejected, 4u);
  EXPECT_EQ(counts_.records, 5u);
}

TEST_F(Documents, of_one_page_keep_the_highest_revision) {
  const auto line = [](int page, int revision, const std::string& text) {
    return "{\"name\":\"T\",\"identifier\":" + std::to_string(page) +
           ",\"version\":{\"identifier\":" + std::to_string(revision) + "},\"sections\":[" +
           paragraph(text) + "]}\n";
  };
  const auto documents = read(line(1, 5, "old") + line(2, 1, "other") + line(1, 7, "new") +
                              line(1, 6, "middle") + line(2, 1, "again"));
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(documents[0].text, "T\nother");
  EXPECT_EQ(documents[1].text, "T\nnew");
  EXPECT_EQ(counts_.duplicates, 3u);
}

TEST_F(Documents, lone_surrogates_and_ill_formed_bytes_become_replacement_characters) {
  const auto documents =
      read(article(paragraph("a\\ud800b \\ud83d\\ude00 c\\\\ud800")) +
           R"({"name":"B","identifier":2,"sections":[{"type":"paragraph","value":"x)" +
           std::string("\xE2\x82(\xFFy") + "\"}]}\n");
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(documents[0].text, "Example lake\na\uFFFDb 😀 c\\ud800");
  EXPECT_EQ(documents[1].text, "B\nx\uFFFD(\uFFFDy");
  EXPECT_EQ(counts_.repaired_bytes, 9u);
}

TEST(CleanText, collapses_blanks_of_every_kind_and_drops_control_characters) {
  EXPECT_EQ(clean_line("  a \t b\u00a0\u2009c\u2028d\u0085e\u3000 "), "a b c d e");
  EXPECT_EQ(clean_line(std::string("a\0b\x01\x7f\u0080\ufeff.", 11)), "ab.");
  std::string text;
  append_clean_lines("one\r\n\r\n  two  \nthree", text);
  EXPECT_EQ(text, "one\ntwo\nthree\n");
}

TEST(CleanText, strips_citation_marks_and_leaves_other_brackets) {
  EXPECT_EQ(clean_line("Fact.[12][3] More[citation needed] [note 4]end[nb 1]"), "Fact. More end");
  EXPECT_EQ(clean_line("[a] [sic] [12a] [12345] [] [12"), "[a] [sic] [12a] [12345] [] [12");
}

TEST(CleanText, composes_characters_as_of_unicode_9) {
  EXPECT_EQ(clean_line("e\u0301"), "\u00e9");
  EXPECT_EQ(clean_line("\u212b"), "\u00c5");
  // U+11935 U+11930 compose to U+11938 since Unicode 13.
  EXPECT_EQ(clean_line("\U00011935\U00011930"), "\U00011935\U00011930");
  // A control character between base and mark is gone before they compose.
  EXPECT_EQ(clean_line("e\x01\u0301"), "\u00e9");
}

TEST(DocumentKey, tells_pages_and_projects_apart_and_ignores_the_text_of_a_page) {
  EXPECT_EQ(document_key("enwiki", 7, "old text"), document_key("enwiki", 7, "new text"));
  EXPECT_NE(document_key("enwiki", 7, ""), document_key("enwiki", 8, ""));
  EXPECT_NE(document_key("enwiki", 7, ""), document_key("frwiki", 7, ""));
}

TEST(DocumentKey, is_of_the_text_without_case_and_blanks_where_there_is_no_page_id) {
  EXPECT_EQ(document_key("", 0, "Some  Text\nhere"), document_key("x", 0, "some text here "));
  EXPECT_NE(document_key("", 0, "some text here"), document_key("", 0, "some text there"));
}

TEST(DocumentKey, never_changes) {
  // Held-out membership of every corpus hangs on these two numbers.
  EXPECT_EQ(document_key("enwiki", 4711, ""), 3953838480198933447u);
  EXPECT_EQ(document_key("", 0, "Example"), 11032229348200466549u);
}

TEST(CleaningRules, canonical_text_changes_with_every_rule) {
  const CleaningRules plain;
  CleaningRules other = plain;
  other.min_chars = 201;
  EXPECT_NE(plain.canonical(), other.canonical());
  other = plain;
  other.drop_sections.pop_back();
  EXPECT_NE(plain.canonical(), other.canonical());
  other = plain;
  other.project = "x";
  EXPECT_NE(plain.canonical(), other.canonical());
}

}  // namespace
}  // namespace refract
