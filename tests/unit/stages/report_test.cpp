#include "refract/stages/report.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"

namespace refract {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHostile = "</script><img src=x onerror=alert(1)>\"'&\xE2\x80\xA8\x01<!--";

fs::path folder() {
  const fs::path path = fs::path(testing::TempDir()) / "report_test";
  make_folder(path);
  return path;
}

FeatureAtlas small_atlas() {
  FeatureAtlas atlas;
  atlas.name = "small";
  atlas.hook = "blocks.0.hook_resid_post";
  atlas.count = {.name = "sae", .features = 3, .alive = 2, .scored = 1, .readable = 1};
  atlas.controls = {{.name = "frozen random", .features = 3}};
  atlas.features.resize(3);
  FeatureFacts& f = atlas.features[1];
  f.density = 0.01F;
  f.max_activation = 4;
  f.auroc = 0.93F;
  f.scored = f.readable = true;
  f.frequent_token = kHostile;
  f.keywords = {{kHostile, 3.5F}, {"acid", 2.5F}};
  f.examples = {{.row = {},
                 .activation = 4,
                 .title = kHostile,
                 .url = "javascript:alert(1)",
                 .text = "an acid\nbath",
                 .center = 1,
                 .token_ends = {2, 7, 12},
                 .activations = {0, 4, 2}}};
  f.neighbours = {{2, 0.5F}};
  return atlas;
}

ReportInput input_of(const FeatureAtlas& atlas) {
  write_features(features_table(folder() / "small.h5", atlas, {{"weights", "parent"}}));
  write_file(folder() / "metrics.jsonl",
             "{\"chunk\":0,\"tokens\":1000,\"mse\":0.5,\"mse_lo\":0.4,\"mse_hi\":0.6,\"r2\":0.8}\n"
             "{\"visit\":1,\"tokens\":2000,\"mse\":0.25,\"r2\":0.9,\"new_key\":\"text\"}\n");
  ReportInput input;
  input.title = kHostile;
  input.header = {{"model", kHostile}};
  input.saes = {{.name = "small",
                 .hook = atlas.hook,
                 .facts = {{"k", "16"}},
                 .notes = {},
                 .features = folder() / "small.h5",
                 .metrics = folder() / "metrics.jsonl"}};
  input.tables = {{"Baselines", "note", true, {"what", "mse"}, {{"pca", "0.5"}}}};
  input.history = {{"Attempts", "", false, {"attempt", "seconds"}, {{"1", "61.5"}}}};
  return input;
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(Report, never_lets_text_become_markup) {
  const std::string page = make_report(input_of(small_atlas()));

  EXPECT_EQ(page.find("<img"), std::string::npos);
  EXPECT_EQ(count_of(page, "</script>"), 3u);  // data, history, code
  EXPECT_EQ(count_of(page, "<script"), 3u);
  EXPECT_EQ(page.find("\xE2\x80\xA8"), std::string::npos);
  EXPECT_NE(page.find("\\u003c/script>"), std::string::npos);
}

TEST(Report, loads_nothing_from_anywhere) {
  const std::string page = make_report(input_of(small_atlas()));

  EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
  for (const char* load :
       {" src=\"", "href=\"", "@import", "url(", "fetch(", "XMLHttpRequest", "import("})
    EXPECT_EQ(page.find(load), std::string::npos) << load;
  for (const char* address : {"\"http:", "\"https:", "'https:"})
    EXPECT_EQ(page.find(address), std::string::npos);
}

TEST(Report, is_the_same_twice_but_for_the_run_history) {
  const ReportInput input = input_of(small_atlas());
  ReportInput later = input;
  later.history[0].rows = {{"1", "70.0"}, {"2", "3.5"}};

  const std::string first = make_report(input), again = make_report(input),
                    other = make_report(later);
  const auto without_history = [](const std::string& page) {
    const std::size_t begin = page.find("<!-- run history"),
                      end = page.find("<!-- end of run history");
    return page.substr(0, begin) + page.substr(end);
  };

  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
  EXPECT_EQ(without_history(first), without_history(other));
}

TEST(Report, marks_firing_tokens_and_names_documents_once) {
  FeatureAtlas atlas = small_atlas();
  atlas.features[1].examples.push_back(atlas.features[1].examples[0]);
  atlas.features[1].examples[0].title = atlas.features[1].examples[1].title = "Acid";

  const std::string page = make_report(input_of(atlas));

  EXPECT_NE(page.find(R"("r":["an"," acid",255,"\nbath",128])"), std::string::npos);
  EXPECT_EQ(count_of(page, R"("Acid")"), 1u);
}

TEST(Report, stays_small_by_leaving_out_examples_of_lesser_features) {
  FeatureAtlas atlas = small_atlas();
  atlas.features[2].max_activation = 1;
  atlas.features[2].examples = atlas.features[1].examples;
  ReportInput input = input_of(atlas);
  input.example_bytes = 100;

  const std::string page = make_report(input);

  EXPECT_NE(page.find(R"("1":[{"a")"), std::string::npos);
  EXPECT_EQ(page.find(R"("2":[{"a")"), std::string::npos);
}

TEST(Report, says_which_line_of_the_metrics_is_broken) {
  ReportInput input = input_of(small_atlas());
  write_file(folder() / "metrics.jsonl", "{\"visit\":0}\nnot json\n");

  try {
    (void)make_report(input);
    FAIL();
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("metrics.jsonl:2"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("remove line 2"), std::string::npos) << error.what();
  }
  write_file(folder() / "metrics.jsonl", "{\"visit\":0}\n");
  EXPECT_NO_THROW((void)make_report(input));
}

TEST(Report, of_a_run_without_features_says_what_is_not_there) {
  ReportInput input = input_of(small_atlas());
  input.saes[0].features.clear();
  input.saes[0].metrics.clear();
  input.saes[0].notes = {"not probed yet"};

  const std::string page = make_report(input);

  EXPECT_NE(page.find(R"("notes":["not probed yet"])"), std::string::npos);
  EXPECT_EQ(page.find(R"("table":)"), std::string::npos);
}

}  // namespace
}  // namespace refract
