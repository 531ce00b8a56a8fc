#include "refract/pipeline/results.hpp"

#include <gtest/gtest.h>

#include "pipeline/finished_parts.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/pipeline/identity.hpp"
#include "refract/stages/features.hpp"
#include "support/example_evaluation.hpp"

namespace refract {
namespace {

constexpr const char* kDemo = REFRACT_SOURCE_DIR "/configs/demo.yaml";
const std::string kEvaluation = test::example_evaluation_text();

// A run's folder as a stopped run leaves it, without corpus, model or weights.
class Analysis : public testing::Test {
 protected:
  Analysis() : root_(fs::path(testing::TempDir()) / "analysis_test") {
    remove_all_quietly(root_);
    make_folder(root_ / "features");
    for (const SaeConfig& sae : config_.saes) make_folder(root_ / "saes" / sae.name);
    folder_ = {.root = root_, .store = root_ / "store"};
    ledger_.emplace(root_ / "ledger.jsonl");
  }
  ~Analysis() override { remove_all_quietly(root_); }

  void checkpoint(const std::string& weights) {
    ledger_->checkpointed({.visit = 0,
                           .steps_in_visit = 0,
                           .complete = true,
                           .folder = "chunk-000000",
                           .saes = {{"small", {weights, "t"}}, {"big", {weights, "t"}}},
                           .store = "s"});
  }

  void make_everything() {
    checkpoint("w1");
    for (const SaeConfig& sae : config_.saes) {
      write_file(folder_.evaluation(sae.name), kEvaluation);
      finish(*ledger_, evaluated_part(folder_, sae.name), "e", short_digest(kEvaluation));
      FeatureAtlas atlas;
      atlas.name = sae.name;
      atlas.features.resize(3);
      finish(
          *ledger_, probed_part(folder_, sae.name), "p",
          write_features(features_table(folder_.features(sae.name), atlas, {{"weights", "w1"}})));
    }
    report_run(config_, folder_, *ledger_, facts_);
  }

  [[nodiscard]] std::string unfinished() const {
    return fs::path(unfinished_part(config_, folder_, read_ledger(root_ / "ledger.jsonl")))
        .filename();
  }
  [[nodiscard]] std::string page() {
    report_run(config_, folder_, *ledger_, facts_);
    return read_file(root_ / "report.html");
  }

  fs::path root_;
  RunConfig config_ = load_run_config(kDemo, {"evaluate.statistics=false"});
  RunFolder folder_;
  std::optional<Ledger> ledger_;
  ReportFacts facts_{.shards = 1, .rows = 4096, .visits_done = 1, .visits = 1, .store = "s"};
};

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_F(Analysis, is_finished_until_a_file_is_missing_or_not_what_was_made) {
  make_everything();
  EXPECT_EQ(unfinished(), "");

  for (const fs::path& file :
       {folder_.evaluation("big"), folder_.features("small"), root_ / "report.html"}) {
    const std::string whole = read_file(file);
    std::string changed = whole;
    changed[changed.size() - 2] ^= 1;
    for (const std::string& bytes : {std::string(), whole.substr(0, whole.size() / 2), changed}) {
      write_file(file, bytes);
      EXPECT_EQ(unfinished(), file.filename()) << bytes.size();
    }
    fs::remove(file);
    EXPECT_EQ(unfinished(), file.filename());
    write_file(file, whole);
    EXPECT_EQ(unfinished(), "");
  }
}

// Another build may have written other fields: what the ledger names is whole, and of no use.
TEST_F(Analysis, is_made_again_where_this_program_cannot_read_it) {
  const std::string other = R"({"schema":"evaluation","version":2})";
  write_file(folder_.evaluation("small"), other);
  finish(*ledger_, evaluated_part(folder_, "small"), "e", short_digest(other));
  make_folder(folder_.statistics("h").parent_path());
  write_file(folder_.statistics("h"), "{}");
  finish(*ledger_, statistics_part(folder_, "h"), "s", short_digest("{}"));

  EXPECT_FALSE(is_finished(ledger_->state(), evaluated_part(folder_, "small"), "e"));
  EXPECT_FALSE(is_finished(ledger_->state(), statistics_part(folder_, "h"), "s"));
}

TEST_F(Analysis, of_an_sae_is_made_again_only_for_its_own_inputs) {
  make_everything();

  EXPECT_TRUE(is_finished(ledger_->state(), evaluated_part(folder_, "small"), "e"));
  EXPECT_FALSE(is_finished(ledger_->state(), evaluated_part(folder_, "small"), "e2"));
  EXPECT_FALSE(is_finished(ledger_->state(), probed_part(folder_, "small"), "e"));
  EXPECT_FALSE(is_finished(ledger_->state(), evaluated_part(folder_, "added"), "e"));
}

TEST_F(Analysis, reports_a_stopped_run_with_what_is_there) {
  facts_ = {};

  const std::string nothing = page();
  checkpoint("w1");
  write_file(folder_.evaluation("small"), kEvaluation);
  facts_ = {.shards = 1, .rows = 2048, .visits_done = 1, .visits = 3, .store = "s"};
  const std::string evaluated = page();

  EXPECT_TRUE(says(nothing, R"("notes":["not trained yet","not evaluated yet","not probed yet"])"));
  EXPECT_TRUE(says(nothing, "not finished: 0 of ? chunks trained"));
  EXPECT_TRUE(says(evaluated, R"("notes":["not probed yet"])"));
  EXPECT_TRUE(says(evaluated, R"("notes":["not evaluated yet","not probed yet"])"));
  EXPECT_TRUE(says(evaluated, "not finished: 1 of 3 chunks trained"));
  EXPECT_TRUE(says(evaluated, R"(["R2","0.6638","0.65 to 0.68")"));
}

TEST_F(Analysis, says_when_what_is_there_is_of_earlier_weights) {
  make_everything();
  EXPECT_FALSE(says(page(), "earlier checkpoint"));

  checkpoint("w2");

  EXPECT_TRUE(says(page(), R"("the evaluation is of an earlier checkpoint than the newest",)"
                           R"("the features are of an earlier checkpoint than the newest")"));
}

TEST_F(Analysis, refuses_to_report_from_a_damaged_file_and_says_what_makes_it_again) {
  make_everything();
  for (const char* bytes : {"", "{\"schema\":", "[]", "{\"inference\":{\"rows\":\"many\"}}"}) {
    write_file(folder_.evaluation("small"), bytes);
    try {
      (void)page();
      ADD_FAILURE() << bytes;
    } catch (const Damaged& error) {
      EXPECT_TRUE(says(error.what(), folder_.evaluation("small").string())) << error.what();
      EXPECT_TRUE(says(error.what(), "Run refract evaluate: it makes the file again."));
      EXPECT_FALSE(says(error.what(), "json.exception")) << error.what();
    }
  }
}

TEST(AnalysisSettings, of_one_part_are_no_others) {
  const RunConfig base = load_run_config(kDemo, {});
  const auto changed_by = [&](const char* setting) {
    const RunConfig other = load_run_config(kDemo, {setting});
    std::string parts;
    if (evaluate_settings(base) != evaluate_settings(other)) parts += "evaluate ";
    if (probe_settings(base) != probe_settings(other)) parts += "probe ";
    if (report_settings(base) != report_settings(other)) parts += "report ";
    return parts;
  };

  EXPECT_EQ(changed_by("evaluate.ce_tokens=100"), "evaluate ");
  EXPECT_EQ(changed_by("probe.examples=3"), "probe ");
  EXPECT_EQ(changed_by("report.file=other.html"), "report ");
  EXPECT_EQ(changed_by("evaluate.curve_rows=100"), "");  // of metrics.jsonl
  EXPECT_EQ(changed_by("disk.max_bytes=8GiB"), "");
}

}  // namespace
}  // namespace refract
