// Scores against a planted truth, and the matching behind one of them, beside SAELens and SciPy.
#include "refract/analysis/truth_scores.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "refract/analysis/assignment.hpp"
#include "refract/base/file.hpp"
#include "refract/base/random.hpp"

namespace refract {
namespace {

using nlohmann::json;

json golden() {
  return json::parse(read_file(fs::path(REFRACT_SOURCE_DIR) / "tests/data/planted_golden.json"));
}

Tensor<float> matrix(const json& rows) {
  Tensor<float> out(Shape{rows.size(), rows[0].size()});
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (std::size_t j = 0; j < rows[i].size(); ++j) out.row(i)[j] = rows[i][j];
  return out;
}

struct OwnedRows {
  std::vector<std::uint64_t> row_starts{0};
  std::vector<std::uint32_t> features;
  explicit OwnedRows(const json& rows) {
    for (const json& row : rows) {
      for (const json& feature : row) features.push_back(feature);
      row_starts.push_back(features.size());
    }
  }
  [[nodiscard]] ActiveRows view() const { return {row_starts, features}; }
};

TEST(TruthScores, are_those_of_synthsaebench) {
  const json all = golden();
  std::size_t compared = 0;
  for (const json& at : all["scores"]) {
    const Cosines cosines =
        absolute_cosines(matrix(at["learned"]).cview(), matrix(at["truth"]).cview());
    const std::vector<std::uint32_t> best = best_matches(cosines);
    FiringCounts counts(best, at["truth"].size());
    counts.add(OwnedRows(at["learned_fires"]).view(), OwnedRows(at["true_fires"]).view());
    const TruthScores scores = counts.scores();

    EXPECT_EQ(best, at["best"].get<std::vector<std::uint32_t>>());
    EXPECT_NEAR(scores.precision, at["precision"].get<double>(), 1e-6);
    EXPECT_NEAR(scores.recall, at["recall"].get<double>(), 1e-6);
    EXPECT_NEAR(scores.f1, at["f1"].get<double>(), 1e-6);
    EXPECT_NEAR(uniqueness(best), at["uniqueness"].get<double>(), 1e-12);
    EXPECT_NEAR(mean_correlation(cosines), at["mcc"].get<double>(), 1e-6);
    ++compared;
  }
  EXPECT_EQ(compared, 3U);
}

TEST(TruthScores, of_the_truth_itself_in_another_order_are_all_one) {
  const json at = golden()["scores"][2];
  const Tensor<float> truth = matrix(at["truth"]);
  const std::size_t G = truth.axis(0);
  Tensor<float> learned(truth.shape());
  for (std::size_t g = 0; g < G; ++g)
    for (std::size_t d = 0; d < truth.axis(1); ++d)
      learned.row((g + 4) % G)[d] = (g % 2 == 0 ? 3.0F : -0.5F) * truth.row(g)[d];
  json true_fires = json::array(), learned_fires = json::array();
  for (std::size_t row = 0; row < 20; ++row) {
    const std::size_t g = row % G;
    true_fires.push_back({g});
    learned_fires.push_back({(g + 4) % G});
  }

  const Cosines cosines = absolute_cosines(learned.cview(), truth.cview());
  FiringCounts counts(best_matches(cosines), G);
  counts.add(OwnedRows(learned_fires).view(), OwnedRows(true_fires).view());

  EXPECT_EQ(counts.scores().precision, 1);
  EXPECT_EQ(counts.scores().recall, 1);
  EXPECT_EQ(counts.scores().f1, 1);
  EXPECT_EQ(uniqueness(best_matches(cosines)), 1);
  EXPECT_NEAR(mean_correlation(cosines), 1, 1e-12);
}

TEST(TruthScores, counts_of_parts_add_up_to_those_of_the_whole) {
  const json at = golden()["scores"][0];
  const std::vector<std::uint32_t> best = at["best"];
  const std::size_t G = at["truth"].size();
  const auto counted = [&](std::size_t first, std::size_t last) {
    const auto rows = [&](const char* name) {
      json part = json::array();
      for (std::size_t i = first; i < last; ++i) part.push_back(at[name][i]);
      return OwnedRows(part);
    };
    FiringCounts counts(best, G);
    counts.add(rows("learned_fires").view(), rows("true_fires").view());
    return counts;
  };
  FiringCounts whole = counted(0, 60), part = counted(0, 17), rest = counted(17, 60);

  for (std::size_t i = 0; i < whole.counts().size(); ++i)
    EXPECT_EQ(whole.counts()[i], part.counts()[i] + rest.counts()[i]);
}

TEST(BestAssignment, is_that_of_scipy) {
  const json all = golden();
  std::size_t compared = 0;
  for (const json& at : all["matchings"]) {
    const std::vector<std::vector<double>> rows = at["score"];
    std::vector<double> score;
    for (const auto& row : rows) score.insert(score.end(), row.begin(), row.end());
    const auto pairs = best_assignment(score, rows.size(), rows[0].size());

    double sum = 0;
    std::vector<std::size_t> of_rows, columns;
    for (const auto& [row, column] : pairs) {
      sum += rows[row][column];
      of_rows.push_back(row);
      columns.push_back(column);
    }
    EXPECT_EQ(pairs.size(), std::min(rows.size(), rows[0].size()));
    EXPECT_NEAR(sum, at["sum"].get<double>(), 1e-9);
    if (at.contains("columns")) {
      EXPECT_EQ(columns, at["columns"].get<std::vector<std::size_t>>());
      EXPECT_EQ(of_rows, at["rows"].get<std::vector<std::size_t>>());
    }
    std::ranges::sort(columns);
    EXPECT_EQ(std::ranges::adjacent_find(columns), columns.end()) << "a column twice";
    ++compared;
  }
  EXPECT_EQ(compared, 11U);
}

TEST(BestAssignment, finds_a_planted_permutation_of_many) {
  constexpr std::uint32_t kMany = 600;
  const std::vector<std::uint32_t> hidden = permutation(kMany, CounterRng(Purpose::test, {31}));
  const CounterRng rng(Purpose::test, {32});
  std::vector<double> score(std::size_t{kMany} * kMany);
  for (std::size_t i = 0; i < score.size(); ++i) score[i] = 0.5 * rng.uniform(i);
  for (std::size_t row = 0; row < kMany; ++row) score[row * kMany + hidden[row]] += 0.5;

  const auto pairs = best_assignment(score, kMany, kMany);

  double found = 0, planted = 0;
  for (const auto& [row, column] : pairs) found += score[row * kMany + column];
  for (std::size_t row = 0; row < kMany; ++row) planted += score[row * kMany + hidden[row]];
  EXPECT_GE(found, planted - 1e-9);
}

}  // namespace
}  // namespace refract
