#include "refract/metrics/moments.hpp"

#include <gtest/gtest.h>

#include "refract/base/parallel.hpp"
#include "refract/base/random.hpp"

namespace refract {
namespace {

// Columns around a tile's, rows around those centred at a time.
constexpr std::size_t kColumns[] = {1, 5, 63, 64, 65, 150};
constexpr std::size_t kRows[] = {0, 1, 63, 64, 65, 200};

Tensor<float> drawn(std::size_t n, std::size_t d) {
  Tensor<float> x(Shape{n, d});
  const CounterRng rng(Purpose::test, {n, d});
  for (std::size_t i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(rng.normal(i));
  return x;
}

std::vector<float> mean_of(std::size_t d) {
  std::vector<float> mean(d);
  for (std::size_t j = 0; j < d; ++j) mean[j] = 0.25F * static_cast<float>(j % 7);
  return mean;
}

// Each element by itself, in the order of the rows.
std::vector<double> plain_covariance(const Tensor<float>& x, const std::vector<float>& mean,
                                     double n) {
  const std::size_t d = mean.size();
  std::vector<double> out(d * d, 0.0);
  for (std::size_t r = 0; r < x.axis(0); ++r)
    for (std::size_t i = 0; i < d; ++i)
      for (std::size_t j = 0; j < d; ++j)
        out[i * d + j] += (static_cast<double>(x.row(r)[i]) - static_cast<double>(mean[i])) *
                          (static_cast<double>(x.row(r)[j]) - static_cast<double>(mean[j]));
  for (double& value : out) value /= n;
  return out;
}

class Threads : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { set_thread_count(GetParam()); }
  void TearDown() override { set_thread_count(before_); }

 private:
  int before_ = thread_count();
};
INSTANTIATE_TEST_SUITE_P(Count, Threads, testing::Values(1, 3));

TEST_P(Threads, make_no_difference_to_a_covariance_which_is_that_of_plain_loops) {
  for (const std::size_t d : kColumns)
    for (const std::size_t n : kRows) {
      const Tensor<float> x = drawn(n, d);
      const std::vector<float> mean = mean_of(d);
      ScatterTiles tiles(d, 0, ScatterTiles::tiles_of(d));

      tiles.add(x.cview(), mean);

      EXPECT_EQ(covariance_of(tiles.values(), d, 7), plain_covariance(x, mean, 7))
          << n << " rows of " << d;
    }
}

TEST_P(Threads, make_no_difference_to_a_weighted_sum) {
  for (const std::size_t d : {1u, 255u, 256u, 600u}) {
    const Tensor<float> x = drawn(9, d);
    std::vector<double> weights, sum(d, 0.5), expected(d, 0.5);
    for (std::size_t i = 0; i < 9; ++i) weights.push_back(1.0 / static_cast<double>(i + 1));
    for (std::size_t i = 0; i < 9; ++i)
      for (std::size_t j = 0; j < d; ++j)
        expected[j] += weights[i] * static_cast<double>(x.row(i)[j]);

    add_weighted_rows(x.cview(), weights, sum);

    EXPECT_EQ(sum, expected) << d;
  }
}

TEST(ScatterTiles, give_the_same_bytes_however_rows_and_tiles_are_divided) {
  constexpr std::size_t kD = 200, kN = 150;
  const Tensor<float> x = drawn(kN, kD);
  const std::vector<float> mean = mean_of(kD);
  const std::size_t count = ScatterTiles::tiles_of(kD);
  ASSERT_EQ(count, 10u);
  ScatterTiles whole(kD, 0, count);
  whole.add(x.cview(), mean);

  std::vector<double> joined;
  for (const auto& [first, tiles] : {std::pair<std::size_t, std::size_t>{0, 3}, {3, 0}, {3, 7}}) {
    ScatterTiles part(kD, first, tiles);
    for (const auto& [row, rows] : {std::pair<std::size_t, std::size_t>{0, 1}, {1, 100}, {101, 49}})
      part.add(x.cview().rows(row, rows), mean);
    joined.insert(joined.end(), part.values().begin(), part.values().end());
  }

  EXPECT_EQ(joined, whole.values());
}

}  // namespace
}  // namespace refract
