#include "refract/metrics/power_moments.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "refract/base/parallel.hpp"
#include "refract/base/random.hpp"
#include "support/statistics_golden.hpp"

namespace refract {
namespace {

using test::expect_all_near;

TEST(PowerMoments, are_those_of_numpy_and_scipy) {
  const test::Golden golden = test::statistics_golden();

  const PowerMoments moments = PowerMoments::of(golden.x.cview());

  EXPECT_EQ(moments.rows(), 50);
  expect_all_near(moments.mean(), golden.json["mean"], 1e-13);
  expect_all_near(moments.standard_deviation(), golden.json["std"], 1e-13);
  expect_all_near(moments.skewness(), golden.json["skewness"], 1e-12);
  expect_all_near(moments.excess_kurtosis(), golden.json["excess_kurtosis"], 1e-12);
  expect_all_near(moments.smallest(), golden.json["smallest"], 0);
  expect_all_near(moments.largest(), golden.json["largest"], 0);
  expect_all_near(moments.second_moment(), golden.json["second_moment"], 1e-12);
}

TEST(PowerMoments, of_parts_merge_to_those_of_the_whole) {
  const test::Golden golden = test::statistics_golden();
  PowerMoments merged;

  for (const auto& [first, rows] :
       {std::pair<std::size_t, std::size_t>{0, 0}, {0, 1}, {1, 30}, {31, 0}, {31, 19}})
    merged.merge(PowerMoments::of(golden.x.cview().rows(first, rows)));

  EXPECT_EQ(merged.rows(), 50);
  expect_all_near(merged.mean(), golden.json["mean"], 1e-13);
  expect_all_near(merged.standard_deviation(), golden.json["std"], 1e-13);
  expect_all_near(merged.skewness(), golden.json["skewness"], 1e-12);
  expect_all_near(merged.excess_kurtosis(), golden.json["excess_kurtosis"], 1e-12);
  expect_all_near(merged.smallest(), golden.json["smallest"], 0);
  expect_all_near(merged.largest(), golden.json["largest"], 0);
}

TEST(PowerMoments, keep_the_spread_beside_a_mean_a_million_times_as_large) {
  Tensor<float> x(Shape{4, 1});
  for (std::size_t i = 0; i < 4; ++i) x.row(i)[0] = 4e6F + static_cast<float>(i % 2);

  PowerMoments moments = PowerMoments::of(x.cview().rows(0, 1));
  moments.merge(PowerMoments::of(x.cview().rows(1, 3)));

  EXPECT_NEAR(moments.standard_deviation()[0], 0.5, 1e-9);
  EXPECT_NEAR(moments.excess_kurtosis()[0], -2, 1e-7);
}

TEST(PowerMoments, of_a_column_that_does_not_vary_have_no_shape) {
  Tensor<float> x(Shape{3, 1});
  for (float& value : x.span()) value = 0.1F;

  const PowerMoments moments = PowerMoments::of(x.cview());

  EXPECT_EQ(moments.standard_deviation()[0], 0);
  EXPECT_TRUE(std::isnan(moments.skewness()[0]));
  EXPECT_TRUE(std::isnan(moments.excess_kurtosis()[0]));
}

TEST(PowerMoments, are_the_same_bytes_packed_and_for_any_number_of_threads) {
  constexpr std::size_t kRows = 100, kD = 150;
  Tensor<float> x(Shape{kRows, kD});
  const CounterRng rng(Purpose::test, {3});
  for (std::size_t i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(rng.normal(i));
  const int threads = thread_count();
  std::vector<std::vector<double>> packed;

  for (const int count : {1, 3}) {
    set_thread_count(count);
    std::vector<double> words(PowerMoments::packed_size(kD));
    PowerMoments::of(x.cview()).pack(words);
    packed.push_back(words);
  }
  set_thread_count(threads);
  std::vector<double> again(packed[0].size());
  PowerMoments::unpack(packed[0]).pack(again);

  EXPECT_EQ(packed[0], packed[1]);
  EXPECT_EQ(packed[0], again);
}

}  // namespace
}  // namespace refract
