#include "refract/pipeline/run_table.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "refract/base/file.hpp"
#include "support/example_evaluation.hpp"

namespace refract {
namespace {

using Cells = std::vector<std::string>;

// A run with the second row of the research log's table.
class RunTable : public ::testing::Test {
 protected:
  RunTable() : root_(fs::path(::testing::TempDir()) / "refract_run_table") {
    make_folder(root_ / "saes" / "one");
    config_.hooks = {"blocks.4.hook_resid_post"};
    config_.train.passes_per_chunk = 50;
    config_.train.corpus_passes = 2;
    config_.train.batch_rows = 256;
    SaeConfig sae{.name = "one", .hooks = config_.hooks, .d_sae = 2560, .k = 50};
    sae.normalize = "none";
    sae.penalty = {.kind = "l1", .coefficient = 0.01 / 4, .weighted = false};
    config_.saes = {sae};
  }
  ~RunTable() override { remove_all_quietly(root_); }

  void evaluate() const {
    SaeEvaluation evaluation = test::example_evaluation();
    const auto add = [&](const char* name, double value) {
      evaluation.inference.values.push_back({name, value, value, value});
    };
    add("mse", 3.1622);
    add("gini", 0.7220);
    evaluation.decoder.cosine_mean = 0.00116;
    evaluation.decoder.cosine_max = 0.2465;
    write_file(folder().evaluation("one"), to_json(evaluation, {}) + "\n");
  }
  [[nodiscard]] RunFolder folder() const { return {.root = root_, .store = root_ / "store"}; }
  [[nodiscard]] TextTable table(Digits digits = Digits::few) const {
    return run_table(config_, RunEvaluation(config_, folder()), digits);
  }

  fs::path root_;
  RunConfig config_;
};

TEST_F(RunTable, has_the_columns_of_the_research_log_in_its_order) {
  EXPECT_EQ(table().columns,
            (Cells{"codeDimsMultiplier", "l1Strength", "epochs", "batchSize", "topkFeatures",
                   "learningRate", "modelDims", "codeDims", "MSE", "R^2", "density", "dead rate",
                   "Gini", "cosine mean", "p95", "max", "mean active", "SAE"}));
  EXPECT_TRUE(table().rows.empty()) << "nothing was evaluated";
}

TEST_F(RunTable, says_what_was_asked_and_what_came_of_it_in_the_logs_units) {
  evaluate();

  ASSERT_EQ(table().rows.size(), 1u);
  EXPECT_EQ(table().rows[0],
            (Cells{"4", "0.01", "100", "256", "50", "0.001", "640", "2560", "3.1622", "0.6638",
                   "0.01953", "0.5582", "0.722", "0.00116", "0.0936", "0.2465", "50", "one"}));
}

TEST_F(RunTable, says_none_where_no_number_of_features_was_asked_for) {
  evaluate();
  config_.saes[0].k = 0;
  config_.saes[0].variant = "relu";
  config_.saes[0].penalty.kind = "auto";

  EXPECT_EQ(table().rows.at(0).at(4), "none");
  EXPECT_EQ(table().rows.at(0).at(1), "0.01");
}

TEST_F(RunTable, leaves_empty_what_has_no_meaning) {
  evaluate();
  config_.saes[0].normalize = "sqrt_d";

  EXPECT_EQ(table().rows.at(0).at(1), "") << "a coefficient of other units";
}

TEST_F(RunTable, gives_all_digits_where_they_are_asked_for) {
  SaeEvaluation evaluation = test::example_evaluation(1.0 / 3);
  write_file(folder().evaluation("one"), to_json(evaluation, {}) + "\n");

  EXPECT_EQ(table(Digits::few).rows.at(0).at(9), "0.33333");
  EXPECT_EQ(std::stod(table(Digits::all).rows.at(0).at(9)), 1.0 / 3);
  EXPECT_EQ(table().rows.at(0).at(8), "") << "no MSE in this evaluation";
}

TEST(L1Strength, is_the_coefficient_of_a_mean_over_features_and_dimensions) {
  SaeConfig sae;
  sae.d_sae = 8;
  sae.normalize = "none";
  sae.penalty = {.kind = "l1", .coefficient = 0.5};

  // Of e [1, 2] and f [1, 8]: |e|^2 + 0.5 sum |f| is twice mean e^2 + 2 mean |f|.
  EXPECT_EQ(l1_strength(sae, 2), 2);
  sae.penalty.kind = "none";
  EXPECT_EQ(l1_strength(sae, 2), 0);
  sae.penalty.kind = "l1";
  sae.normalize = "sqrt_d";
  EXPECT_TRUE(std::isnan(l1_strength(sae, 2)));
}

}  // namespace
}  // namespace refract
