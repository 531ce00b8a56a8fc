// What ranks measure together is, to the last bit, what one of them measures alone; and a rank
// keeps its share of the rows.
#include "refract/stages/calibrate.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "refract/base/error.hpp"
#include "refract/base/random.hpp"
#include "support/token_stream.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::world;

// A sample of parts as a plan cuts it, the same on every rank.
struct Sample {
  std::vector<std::size_t> part_rows;
  std::vector<float> x;  // [n, d]
  std::vector<std::uint8_t> special;
  std::size_t d = 0;
  [[nodiscard]] std::size_t n() const { return special.size(); }
};

// Rows off the origin; one in nine is special, one in eleven as long as a sink.
Sample sample_of(std::vector<std::size_t> part_rows, std::size_t d) {
  Sample out{.part_rows = std::move(part_rows), .x = {}, .special = {}, .d = d};
  const std::size_t n = std::accumulate(out.part_rows.begin(), out.part_rows.end(), std::size_t{0});
  const CounterRng rng(Purpose::test, {n, d});
  for (std::size_t r = 0; r < n; ++r) {
    out.special.push_back(r % 9 == 4 ? 1 : 0);
    for (std::size_t j = 0; j < d; ++j)
      out.x.push_back((static_cast<float>(rng.normal(r * d + j)) + 0.5F) *
                      (r % 11 == 7 ? 1000.0F : 1.0F));
  }
  return out;
}

HookCalibration measure_share(const Sample& sample, Communicator& ranks, double sink_ratio = 10) {
  const Share share = share_of(sample.part_rows.size(), ranks.rank(), ranks.size());
  const auto start = [&](std::size_t part) {
    return std::accumulate(sample.part_rows.begin(),
                           sample.part_rows.begin() + static_cast<std::ptrdiff_t>(part),
                           std::size_t{0});
  };
  const std::size_t first = start(share.first), n = start(share.first + share.count) - first;
  Tensor<float> x(Shape{n, sample.d});
  std::copy_n(sample.x.begin() + static_cast<std::ptrdiff_t>(first * sample.d), n * sample.d,
              x.data());
  return collective_measure("hook", std::move(x), std::span(sample.special).subspan(first, n),
                            std::span(sample.part_rows).subspan(share.first, share.count),
                            sink_ratio, ranks);
}

void expect_same_bytes(const HookCalibration& a, const HookCalibration& b) {
  EXPECT_EQ(a.hook, b.hook);
  EXPECT_EQ(a.d_in, b.d_in);
  EXPECT_EQ(a.rows, b.rows);
  EXPECT_EQ(a.median_norm, b.median_norm);
  EXPECT_EQ(a.sink_threshold, b.sink_threshold);
  EXPECT_EQ(a.mean_norm, b.mean_norm);
  EXPECT_EQ(a.mean, b.mean);
  EXPECT_EQ(a.geometric_median, b.geometric_median);
  EXPECT_EQ(a.covariance, b.covariance);
  EXPECT_EQ(a.int8_scales, b.int8_scales);
  ASSERT_TRUE(a.whitening && b.whitening);
  EXPECT_TRUE(std::ranges::equal(a.whitening->W.span(), b.whitening->W.span()));
  EXPECT_TRUE(std::ranges::equal(a.whitening->inverse.span(), b.whitening->inverse.span()));
}

const std::vector<std::vector<std::size_t>> kCuts = {
    {40}, {25, 60}, {7, 0, 90}, {33, 1, 64, 65, 20}, {10, 11, 12, 13, 14, 15, 16, 17, 18}};

TEST(CalibrateTogether, gives_the_bytes_of_one_rank) {
  std::size_t compared = 0;
  for (const std::vector<std::size_t>& cut : kCuts)
    for (const std::size_t d : {1u, 5u, 64u, 130u}) {
      const Sample sample = sample_of(cut, d);
      Communicator alone = Communicator::loopback();

      const HookCalibration together = measure_share(sample, world());

      const HookCalibration one = measure_share(sample, alone);
      EXPECT_EQ(together.mean, one.mean) << "known to every rank";
      if (world().rank() != 0) {
        EXPECT_TRUE(together.covariance.empty());
        continue;
      }
      expect_same_bytes(together, one);
      ++compared;
    }
  EXPECT_EQ(compared, world().rank() == 0 ? 20u : 0u);
}

// Against plain loops over all rows, in fp64 and in another order of operations.
TEST(CalibrateTogether, measures_what_its_names_say) {
  const Sample sample = sample_of({33, 1, 64, 65, 20}, 5);
  const auto norm = [&](std::size_t r) {
    double sum = 0;
    for (std::size_t j = 0; j < sample.d; ++j) sum += std::pow(sample.x[r * sample.d + j], 2);
    return std::sqrt(sum);
  };
  std::vector<double> norms;
  for (std::size_t r = 0; r < sample.n(); ++r)
    if (sample.special[r] == 0) norms.push_back(norm(r));
  std::ranges::sort(norms);
  const double median = norms[norms.size() / 2];
  std::vector<std::size_t> rows;
  for (std::size_t r = 0; r < sample.n(); ++r)
    if (sample.special[r] == 0 && norm(r) <= 10 * median) rows.push_back(r);
  ASSERT_LT(rows.size(), norms.size()) << "the sample has sinks";
  const auto n = static_cast<double>(rows.size());

  const HookCalibration found = measure_share(sample, world());

  EXPECT_EQ(found.rows, rows.size());
  EXPECT_NEAR(found.median_norm, median, 1e-12 * median);
  EXPECT_EQ(found.sink_threshold, 10 * found.median_norm);
  double mean_norm = 0;
  for (const std::size_t r : rows) mean_norm += norm(r) / n;
  EXPECT_NEAR(found.mean_norm, mean_norm, 1e-12 * mean_norm);
  std::vector<double> mean(sample.d, 0.0);
  for (const std::size_t r : rows)
    for (std::size_t j = 0; j < sample.d; ++j)
      mean[j] += static_cast<double>(sample.x[r * sample.d + j]) / n;
  for (std::size_t j = 0; j < sample.d; ++j)
    EXPECT_NEAR(static_cast<double>(found.mean[j]), mean[j], 1e-6);
  // At the geometric median the directions to the rows cancel.
  std::vector<double> pull(sample.d, 0.0);
  for (const std::size_t r : rows) {
    double distance = 0;
    for (std::size_t j = 0; j < sample.d; ++j)
      distance += std::pow(sample.x[r * sample.d + j] - found.geometric_median[j], 2);
    for (std::size_t j = 0; j < sample.d; ++j)
      pull[j] += static_cast<double>(sample.x[r * sample.d + j] - found.geometric_median[j]) /
                 std::sqrt(distance);
  }
  for (const double value : pull) EXPECT_NEAR(value, 0, 1e-3 * n);
  if (world().rank() != 0) return;
  for (std::size_t i = 0; i < sample.d; ++i)
    for (std::size_t j = 0; j < sample.d; ++j) {
      double sum = 0;
      for (const std::size_t r : rows)
        sum += (static_cast<double>(sample.x[r * sample.d + i]) - mean[i]) *
               (static_cast<double>(sample.x[r * sample.d + j]) - mean[j]);
      EXPECT_NEAR(found.covariance[i * sample.d + j], sum / n, 1e-6);
    }
  for (std::size_t j = 0; j < sample.d; ++j) {
    float largest = 0;
    for (const std::size_t r : rows)
      largest = std::max(largest, std::abs(sample.x[r * sample.d + j]));
    EXPECT_EQ(found.int8_scales[j], largest / 127.0F);
  }
}

TEST(CalibrateTogether, refuses_on_every_rank_what_cannot_be_learned_from) {
  Sample zero = sample_of({6, 6, 6}, 3), same = zero, special = zero;
  std::ranges::fill(zero.x, 0.0F);
  std::ranges::fill(same.x, 0.7F);
  std::ranges::fill(special.special, std::uint8_t{1});

  EXPECT_THROW((void)measure_share(zero, world()), NumericalError);
  EXPECT_THROW((void)measure_share(same, world()), NumericalError);
  EXPECT_THROW((void)measure_share(special, world()), DataError);
}

class CalibrateCorpus : public testing::Test {
 protected:
  CalibrationPlan plan(std::uint64_t rows) {
    return plan_calibration({.rows = rows, .max_tokens = 1 << 20}, corpus_.corpus(), 1, RowRule{},
                            1);
  }

  test::SmallCorpus corpus_{"calibrate_together", 160};
  test::TokenStream model_{70};
  std::vector<HookPoint> hooks_{{0, Site::resid_post}, {0, Site::mlp_out}};
};

TEST_F(CalibrateCorpus, gives_the_bytes_of_one_rank_for_every_hook) {
  for (const std::uint64_t rows : {100u, 200u, 1u << 20}) {  // one part, two, all there are
    Communicator alone = Communicator::loopback();

    const CalibrationData together =
        collective_calibrate(plan(rows), model_, hooks_, corpus_.corpus(), 10, world());

    if (world().rank() != 0) {
      EXPECT_TRUE(together.hooks.empty());
      continue;
    }
    const CalibrationData one =
        collective_calibrate(plan(rows), model_, hooks_, corpus_.corpus(), 10, alone);
    ASSERT_EQ(together.hooks.size(), 2u);
    for (std::size_t h = 0; h < 2; ++h) {
      expect_same_bytes(together.hooks[h], one.hooks[h]);
      EXPECT_EQ(together.hooks[h].tokens, one.hooks[h].tokens);
    }
    EXPECT_NE(together.hooks[0].mean, together.hooks[1].mean);
  }
}

TEST_F(CalibrateCorpus, keeps_on_a_rank_the_rows_of_its_parts_alone) {
  const CalibrationPlan whole = plan(1 << 20);
  const Share share = share_of(whole.parts.size(), world().rank(), world().size());
  std::vector<std::size_t> expected;
  for (std::uint64_t p = share.first; p < share.first + share.count; ++p)
    expected.push_back(whole.parts[p].rows.size());
  const std::size_t n = std::accumulate(expected.begin(), expected.end(), std::size_t{0});

  const CalibrationShare mine = collective_sample(whole, model_, hooks_, corpus_.corpus(), world());

  EXPECT_EQ(mine.part_rows, expected);
  EXPECT_EQ(mine.special.size(), n);
  ASSERT_EQ(mine.x.size(), 2u);
  for (const Tensor<float>& x : mine.x) EXPECT_EQ(x.shape(), (Shape{n, 70}));
  std::uint64_t all = n;
  world().all_reduce_sum(std::span<std::uint64_t>(&all, 1));
  EXPECT_EQ(all, whole.rows);
  EXPECT_LE(
      n * static_cast<std::size_t>(world().size()),
      whole.rows + static_cast<std::size_t>(world().size()) * 16 * test::SmallCorpus::kLength);
}

}  // namespace
}  // namespace refract
