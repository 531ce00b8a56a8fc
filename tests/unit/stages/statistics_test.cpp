#include "refract/stages/statistics.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "refract/base/file.hpp"
#include "refract/base/random.hpp"
#include "support/heldout_rows.hpp"
#include "support/statistics_golden.hpp"

namespace refract {
namespace {

using test::HeldoutRows;

HookCalibration calibration_of(std::vector<float> mean, std::vector<double> covariance) {
  HookCalibration out;
  out.hook = HeldoutRows::kHook;
  out.d_in = mean.size();
  out.mean = std::move(mean);
  out.covariance = std::move(covariance);
  return out;
}

HookCalibration plain_calibration(std::size_t d) {
  std::vector<double> identity(d * d, 0.0);
  for (std::size_t j = 0; j < d; ++j) identity[j * d + j] = 1;
  return calibration_of(std::vector<float>(d, 0), identity);
}

ActivationStatistics measure(const HeldoutRows& rows, const HookCalibration& calibration,
                             std::span<const TokenClass> classes, std::uint64_t max_rows = 0) {
  const fs::path path = fs::path(testing::TempDir()) / fmt::format("statistics_{}.h5", ::getpid());
  fs::remove(path);
  rows.write(path);
  Communicator alone = Communicator::loopback();
  SharedStop stop(alone);
  ActivationStatistics out = collective_activation_statistics(ChunkReader(path), calibration,
                                                              classes, max_rows, stop, alone);
  fs::remove(path);
  return out;
}

const std::vector<TokenClass> kClasses = {TokenClass::word_start, TokenClass::punctuation};

void add(HeldoutRows& rows, std::uint64_t document, std::uint32_t position,
         std::uint32_t document_position, std::uint32_t token, std::vector<float> x) {
  rows.add(document, position, document_position, token, 0, false, x);
}

std::vector<std::string> lines_of(const std::vector<RowStratum>& strata) {
  std::vector<std::string> out;
  for (const RowStratum& stratum : strata)
    out.push_back(fmt::format("{} {} {:.3f} {}", stratum.name, stratum.rows, stratum.share,
                              stratum.mean_norm ? fmt::format("{:.2f}", *stratum.mean_norm) : "-"));
  return out;
}

TEST(Statistics, put_each_row_into_one_class_and_one_bucket_of_its_place) {
  HeldoutRows rows;
  rows.add(5, 0, kNoDocumentPosition, 9, kExcludedBos, false, std::vector<float>{7, 0});
  add(rows, 5, 1, 0, 0, {3, 4});
  add(rows, 5, 2, 1, 1, {0, 1});
  add(rows, 5, 3, 2, 0, {5, 0});
  rows.add(5, 4, 3, 0, 0, true, std::vector<float>{30, 40});
  add(rows, 6, 5, 0, 1, {0, 3});     // its document begins within the context
  add(rows, 7, 3, 500, 99, {2, 0});  // and this one in an earlier context
  rows.add(kNoDocument, 9, kNoDocumentPosition, 9, kExcludedPad, false, std::vector<float>{0, 0});

  const ActivationStatistics found = measure(rows, plain_calibration(2), kClasses);

  EXPECT_EQ(found.rows, 5u);
  EXPECT_EQ(found.documents, 3u);
  EXPECT_EQ(found.padding, 1u);
  EXPECT_DOUBLE_EQ(found.mean_norm, 16.0 / 5);
  EXPECT_EQ(lines_of(found.classes),
            (std::vector<std::string>{"word_start 2 0.400 5.00", "inside_word 0 0.000 -",
                                      "number 0 0.000 -", "punctuation 2 0.400 2.00",
                                      "white_space 0 0.000 -", "other 1 0.200 2.00"}));
  EXPECT_EQ(lines_of(found.positions),
            (std::vector<std::string>{"0 2 0.400 4.00", "1 1 0.200 1.00", "2-3 2 0.400 3.50"}));
  EXPECT_EQ(lines_of(found.left_out),
            (std::vector<std::string>{"special 1 0.000 7.00", "sink 1 0.000 50.00"}));
  EXPECT_EQ(found.strongest[0].dimension, 0u);
  EXPECT_EQ(found.classes[0].strongest, (std::vector<double>{4, 2}));
  EXPECT_EQ(found.left_out[1].strongest, (std::vector<double>{30, 40}));
  EXPECT_NEAR(found.classes[0].mean_cosine.value(), 0.6, 1e-15);
  EXPECT_NEAR(found.classes[0].shape.value().participation_ratio, 1, 1e-12) << "two rows, a line";
  EXPECT_FALSE(found.positions[1].shape) << "one row";
  EXPECT_TRUE(found.positions[0].few_rows);
  EXPECT_TRUE(found.few_rows);
}

TEST(Statistics, take_the_first_whole_documents) {
  HeldoutRows rows;
  for (std::uint32_t i = 0; i < 12; ++i)
    add(rows, i / 4, i % 4, i % 4, 0, {static_cast<float>(i), 1});

  EXPECT_EQ(measure(rows, plain_calibration(2), kClasses).rows, 12u);
  EXPECT_EQ(measure(rows, plain_calibration(2), kClasses, 9).rows, 8u);
  EXPECT_EQ(measure(rows, plain_calibration(2), kClasses, 8).rows, 8u);
  EXPECT_EQ(measure(rows, plain_calibration(2), kClasses, 3).rows, 3u) << "no whole one fits";
}

TEST(Statistics, are_those_of_numpy_and_scikit_learn) {
  const test::Golden golden = test::statistics_golden();
  const std::size_t n = golden.x.axis(0), d = golden.x.axis(1), half = n / 2;
  HeldoutRows rows;
  for (std::size_t i = 0; i < n; ++i)
    rows.add(0, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(i), i % 2, 0, false,
             golden.x.row(i));
  std::vector<double> mean(d, 0.0), covariance(d * d, 0.0);
  for (std::size_t i = 0; i < half; ++i)
    for (std::size_t j = 0; j < d; ++j) mean[j] += golden.x.row(i)[j] / static_cast<double>(half);
  for (std::size_t r = 0; r < half; ++r)
    for (std::size_t i = 0; i < d; ++i)
      for (std::size_t j = 0; j < d; ++j)
        covariance[i * d + j] += (golden.x.row(r)[i] - mean[i]) * (golden.x.row(r)[j] - mean[j]) /
                                 static_cast<double>(half);

  const ActivationStatistics found =
      measure(rows, calibration_of({mean.begin(), mean.end()}, covariance), kClasses);

  const nlohmann::json &raw = golden.json["raw"], &white = golden.json["whitened_by_half"];
  test::expect_all_near(found.dimensions.mean, golden.json["mean"], 1e-13);
  test::expect_all_near(found.dimensions.skewness, golden.json["skewness"], 1e-12);
  test::expect_all_near(found.raw.eigenvalues, raw["eigenvalues"], 1e-12);
  test::expect_all_near(found.whitened.eigenvalues, white["eigenvalues"], 1e-5);
  EXPECT_NEAR(found.raw.mean_cosine.value(), golden.json["mean_cosine"], 1e-12);
  EXPECT_NEAR(found.whitened.mean_cosine.value(), white["mean_cosine"], 1e-5);
  EXPECT_NEAR(found.raw.shape.value().isoscore.value(), raw["isoscore"], 1e-6);
  EXPECT_NEAR(found.whitened.shape.value().isoscore.value(), white["isoscore"], 1e-5);
}

// A dimension that is large in the first rows of documents alone, and one that is large in all.
TEST(Statistics, tell_where_an_outlier_dimension_comes_from) {
  constexpr std::size_t kDim = 40, kRows = 600, kOfFirst = 7, kOfAll = 21;
  const CounterRng rng(Purpose::test, {5});
  HeldoutRows rows;
  std::vector<float> row(kDim);
  for (std::size_t i = 0; i < kRows; ++i) {
    const auto position = static_cast<std::uint32_t>(i % 20);
    for (std::size_t j = 0; j < kDim; ++j) row[j] = static_cast<float>(rng.normal(i * kDim + j));
    if (position == 0) row[kOfFirst] += 80;
    row[kOfAll] += 30;
    rows.add(i / 20, position, position, i % 2, 0, false, row);
  }

  const ActivationStatistics found = measure(rows, plain_calibration(kDim), kClasses);

  ASSERT_EQ(found.outliers.count, 2u);
  ASSERT_EQ(found.strongest[0].dimension, kOfAll);
  ASSERT_EQ(found.strongest[1].dimension, kOfFirst);
  EXPECT_GT(found.strongest[1].explained_by_position, 0.95);
  EXPECT_LT(found.strongest[1].explained_by_class, 0.1);
  EXPECT_LT(found.strongest[0].explained_by_position, 0.1);
  EXPECT_NEAR(found.positions[0].strongest[1], 80, 1);
  EXPECT_NEAR(found.positions[3].strongest[1], 0, 0.5);
  EXPECT_GT(found.raw.mean_cosine, 0.8);
  EXPECT_LT(found.mean_cosine_without_strongest, 0.01);
  EXPECT_LT(found.mean_cosine_centred, 0.3) << "the first rows still lie together";
}

TEST(Statistics, are_told_to_programs_and_to_people) {
  HeldoutRows rows;
  add(rows, 5, 0, 0, 0, {1, 2});
  add(rows, 5, 1, 1, 1, {1, 5});

  const ActivationStatistics found = measure(rows, plain_calibration(2), kClasses);
  const auto json = nlohmann::json::parse(to_json(found, {{"store", "0123456789abcdef"}}));
  const std::string text = describe(found);
  EXPECT_EQ(describe(statistics_from_json(json.dump())), text);

  EXPECT_EQ(json["schema"], "statistics");
  EXPECT_EQ(json["parents"]["store"], "0123456789abcdef");
  EXPECT_EQ(json["dimensions"]["mean"], (std::vector<double>{1, 3.5}));
  EXPECT_TRUE(json["dimensions"]["skewness"][0].is_null()) << "it does not vary";
  EXPECT_TRUE(json["raw"]["condition_number"].is_null());
  EXPECT_TRUE(json["positions"][0]["mean_cosine"].is_null()) << "one row";
  EXPECT_EQ(json["classes"].size(), kTokenClasses);
  EXPECT_NE(text.find("2 rows of 1 documents, 2 dimensions"), std::string::npos) << text;
  EXPECT_NE(text.find("punctuation"), std::string::npos) << text;
  EXPECT_EQ(text.find("nan"), std::string::npos) << text;
}

}  // namespace
}  // namespace refract
