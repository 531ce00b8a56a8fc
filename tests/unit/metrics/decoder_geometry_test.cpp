// All pairs of a decoder against NumPy (tests/data/decoder_geometry_golden.json, written by
// make_decoder_geometry_golden.py), by hand, and for any division of the work.
#include "refract/metrics/decoder_geometry.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "refract/base/error.hpp"
#include "refract/base/random.hpp"

namespace refract {
namespace {

Tensor<float> decoder_of(std::size_t rows, std::size_t d_in, std::uint64_t seed) {
  Tensor<float> W(Shape{rows, d_in});
  const CounterRng rng(Purpose::test, {seed});
  for (std::size_t i = 0; i < W.size(); ++i) W.data()[i] = static_cast<float>(rng.normal(i));
  return W;
}

Tensor<float> decoder_of(const std::vector<std::vector<float>>& rows) {
  Tensor<float> W(Shape{rows.size(), rows.front().size()});
  for (std::size_t f = 0; f < rows.size(); ++f) std::ranges::copy(rows[f], W.row(f).begin());
  return W;
}

DecoderGeometry geometry_of(const Tensor<float>& W) {
  const UnitRows rows("SAE 'small'", W.cview());
  DecoderCosines cosines(rows);
  for (std::uint64_t pair = 0; pair < DecoderCosines::tile_pairs(rows.live()); ++pair)
    cosines.add(pair);
  return decoder_geometry(rows, cosines.tally());
}

Tensor<float> golden_decoder() {
  Tensor<float> W(Shape{700, 16});
  for (std::uint64_t f = 0; f < 700; ++f)
    for (std::uint64_t d = 0; d < 16; ++d) {
      const std::uint64_t mixed = (f * 1000003 + d * 7919 + 12345) * 2654435761 % (1ULL << 32);
      W.row(f)[d] = static_cast<float>((mixed >> 16) % 2001) - 1000;
    }
  for (std::size_t d = 0; d < 16; ++d) {
    W.row(3)[d] = W.row(600)[d] = 0;
    W.row(650)[d] = 2 * W.row(10)[d];
    W.row(20)[d] = -W.row(21)[d];
    W.row(300)[d] += 10 * W.row(100)[d];
  }
  return W;
}

TEST(DecoderGeometry, equals_numpy_on_two_tiles_with_zero_rows_and_duplicates) {
  std::ifstream file(std::string(REFRACT_SOURCE_DIR) + "/tests/data/decoder_geometry_golden.json");
  const auto golden = nlohmann::json::parse(file);

  const DecoderGeometry found = geometry_of(golden_decoder());

  constexpr double kBin = 1.0001e-4;
  EXPECT_EQ(found.features, 700U);
  EXPECT_EQ(found.live, golden["live"]);
  EXPECT_EQ(found.pairs, golden["pairs"]);
  EXPECT_NEAR(found.cosine_mean, golden["cosine_mean"], 1e-12);
  EXPECT_NEAR(found.cosine_p95, golden["cosine_p95"], kBin);
  EXPECT_NEAR(found.absolute_cosine_p95, golden["absolute_cosine_p95"], kBin);
  EXPECT_NEAR(found.cosine_max, golden["cosine_max"], 3e-7);
  EXPECT_EQ(found.near_duplicates, golden["near_duplicates"]);
  EXPECT_NEAR(found.nearest_mean, golden["nearest_mean"], 3e-7);
  EXPECT_NEAR(found.nearest_p50, golden["nearest_p50"], 3e-7);
  EXPECT_NEAR(found.nearest_p95, golden["nearest_p95"], 3e-7);
  std::size_t live = 0;
  for (std::size_t f = 0; f < 700; ++f) {
    if (f == 3 || f == 600) {
      EXPECT_EQ(found.nearest_feature[f], kNoFeature);
      EXPECT_EQ(found.nearest_cosine[f], 0.0F);
      continue;
    }
    EXPECT_EQ(found.nearest_feature[f], golden["nearest_feature"][live]) << f;
    EXPECT_NEAR(found.nearest_cosine[f], golden["nearest_cosine"][live].get<double>(), 3e-7) << f;
    ++live;
  }
  ASSERT_EQ(found.strongest.size(), DecoderCosines::kStrongest);
  for (std::size_t k = 0; k < golden["strongest"].size(); ++k) {
    EXPECT_EQ(found.strongest[k].i, golden["strongest"][k][0]) << k;
    EXPECT_EQ(found.strongest[k].j, golden["strongest"][k][1]) << k;
    EXPECT_NEAR(found.strongest[k].cosine, golden["strongest"][k][2].get<double>(), 3e-7);
  }
}

TEST(DecoderGeometry, gives_the_cosines_of_four_directions_of_the_plane_by_hand) {
  // 0, 60, 90 and 180 degrees: cosines 1/2, 0, -1; sqrt(3)/2, -1/2; 0.
  const float third = std::sqrt(3.0F);
  const DecoderGeometry found = geometry_of(decoder_of({{2, 0}, {1, third}, {0, 5}, {-1, 0}}));

  EXPECT_EQ(found.pairs, 6U);
  EXPECT_NEAR(found.cosine_mean, (std::sqrt(3.0) / 2 - 1) / 6, 1e-7);
  EXPECT_NEAR(found.cosine_max, std::sqrt(3.0) / 2, 1e-7);
  EXPECT_NEAR(found.cosine_p95, std::sqrt(3.0) / 2, 1e-4);
  EXPECT_EQ(found.absolute_cosine_p95, 1.0);
  EXPECT_EQ(found.nearest_feature, (std::vector<std::uint32_t>{1, 2, 1, 2}));
  EXPECT_EQ(found.nearest_cosine[3], 0.0F);
  EXPECT_NEAR(found.nearest_mean, (0.5 + std::sqrt(3.0)) / 4, 1e-7);
  EXPECT_EQ(found.near_duplicates, 0U);
  EXPECT_EQ(found.histogram[0], 1U);
  EXPECT_EQ(found.histogram[100], 2U);
  EXPECT_EQ((CosinePair{1, 2, found.strongest.front().cosine}), found.strongest.front());
}

TEST(DecoderGeometry, gives_ties_to_the_lower_feature_and_the_strongest_pairs_in_their_order) {
  std::vector<std::vector<float>> rows(60, {0.6F, 0.8F, 0, 0});
  const DecoderGeometry same = geometry_of(decoder_of(rows));

  EXPECT_EQ(same.near_duplicates, 1770U);
  ASSERT_EQ(same.strongest.size(), 1000U);
  std::size_t k = 0;
  for (std::uint32_t i = 0; k < 1000; ++i)
    for (std::uint32_t j = i + 1; j < 60 && k < 1000; ++j, ++k) {
      EXPECT_EQ(same.strongest[k].i, i);
      EXPECT_EQ(same.strongest[k].j, j);
    }
  EXPECT_EQ(same.nearest_feature[0], 1U);
  for (std::size_t f = 1; f < 60; ++f) EXPECT_EQ(same.nearest_feature[f], 0U);
}

TEST(DecoderGeometry, counts_every_pair_once_whoever_computes_it) {
  const Tensor<float> W = decoder_of(1100, 7, 5);  // three tiles: six pairs of tiles
  const UnitRows rows("SAE 'small'", W.cview());
  const DecoderGeometry whole = geometry_of(W);

  DecoderCosines one(rows), other(rows);
  for (const std::uint64_t pair : {5, 0, 3}) one.add(pair);
  for (const std::uint64_t pair : {2, 4, 1}) other.add(pair);
  CosineTally merged = one.tally();
  const CosineTally more = other.tally();
  for (std::size_t b = 0; b < CosineTally::kBins; ++b) merged.histogram[b] += more.histogram[b];
  merged.near_duplicates += more.near_duplicates;
  for (std::size_t row = 0; row < rows.live(); ++row)
    merged.nearest[row] = std::max(merged.nearest[row], more.nearest[row]);
  merged.strongest.insert(merged.strongest.end(), more.strongest.begin(), more.strongest.end());
  merged.strongest = merge_strongest(std::move(merged.strongest));

  EXPECT_EQ(DecoderCosines::tile_pairs(rows.live()), 6U);
  EXPECT_TRUE(decoder_geometry(rows, merged) == whole);

  // Each pair by itself, in fp64.
  std::uint64_t near_duplicates = 0;
  double sum = 0, largest = -1;
  for (std::size_t i = 0; i < 1100; ++i)
    for (std::size_t j = i + 1; j < 1100; ++j) {
      double ij = 0, ii = 0, jj = 0;
      for (std::size_t d = 0; d < 7; ++d) {
        ij += double(W.row(i)[d]) * double(W.row(j)[d]);
        ii += double(W.row(i)[d]) * double(W.row(i)[d]);
        jj += double(W.row(j)[d]) * double(W.row(j)[d]);
      }
      const double cosine = ij / std::sqrt(ii * jj);
      sum += cosine;
      largest = std::max(largest, cosine);
      near_duplicates += cosine > 0.9 ? 1 : 0;
    }
  EXPECT_GT(near_duplicates, 100U);
  EXPECT_EQ(whole.near_duplicates, near_duplicates);
  EXPECT_NEAR(whole.cosine_mean, sum / static_cast<double>(whole.pairs), 1e-12);
  EXPECT_NEAR(whole.cosine_max, largest, 3e-7);
}

TEST(DecoderGeometry, of_fewer_than_two_live_rows_has_no_pairs) {
  for (const auto& rows :
       {std::vector<std::vector<float>>{{0, 0}}, {{0, 0}, {0, 0}, {0, 0}}, {{0, 0}, {1, 0}}}) {
    const DecoderGeometry found = geometry_of(decoder_of(rows));

    EXPECT_EQ(found.features, rows.size());
    EXPECT_EQ(found.pairs, 0U);
    EXPECT_EQ(found.cosine_max, 0.0);
    EXPECT_EQ(found.nearest_feature, std::vector<std::uint32_t>(rows.size(), kNoFeature));
  }
}

TEST(DecoderGeometry, names_the_row_that_is_not_finite) {
  Tensor<float> W = decoder_of(9, 3, 1);
  W.row(7)[2] = std::nanf("");
  try {
    (void)UnitRows("SAE 'small'", W.cview());
    FAIL() << "accepted";
  } catch (const NumericalError& error) {
    EXPECT_NE(std::string(error.what()).find("SAE 'small': row 7 of the decoder"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace refract
