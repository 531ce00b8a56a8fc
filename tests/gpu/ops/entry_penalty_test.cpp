#include "refract/ops/entry_penalty.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "support/gpu_entries.hpp"

namespace refract {
namespace {

using EntryPenaltyOnGpu = test::EntriesOnGpu;

TEST_F(EntryPenaltyOnGpu, takes_norms_of_rows_to_the_byte) {
  std::size_t compared = 0;
  for (const std::size_t features : {1U, 31U, 33U, 257U})
    for (const std::size_t d : {1U, 31U, 33U, 1025U}) {
      const Tensor<float> W = test::normal_values({features, d}, d), W_there = upload(W);
      const Tensor<float> norms({features}), norms_there = upload(norms);

      row_norms(W_there.cview(), norms_there.view(), stream);
      row_norms(W.cview(), norms.view(), host);

      compared += test::expect_same_bytes(download(norms_there), norms, "norms");
    }
  EXPECT_EQ(compared, 4U * (1 + 31 + 33 + 257));
}

// ln of the device may be two ulps off; the sum of all features adds in another order.
TEST_F(EntryPenaltyOnGpu, sums_rates_to_the_unit_and_gives_their_slopes) {
  std::size_t compared = 0;
  for (const std::size_t n : {0U, 1U, 33U, 1025U})
    for (const std::size_t features : {1U, 33U, 257U, 700U}) {
      const test::EntryLists entries = test::drawn_entries(n, features, 4),
                             uploaded = upload(entries);
      const Tensor<std::uint8_t> included = test::drawn_flags(n), flags = upload(included);
      const Tensor<std::uint64_t> rates({features + 1}), rates_there = upload(rates);
      const Tensor<float> slopes({features}), slopes_there = upload(slopes);
      const Tensor<double> penalty({1}), penalty_there = upload(penalty);

      sum_rates(uploaded.view(), 1.5F, flags.cview(), rates_there.view(), stream);
      sum_rates(entries.view(), 1.5F, included.cview(), rates.view(), host);
      compared += test::expect_same_bytes(download(rates_there), rates, "rates");

      rate_slopes(rates_there.cview(), 0.1, slopes_there.view(), penalty_there.view(), stream);
      rate_slopes(rates.cview(), 0.1, slopes.view(), penalty.view(), host);
      test::expect_same_bytes(download(slopes_there), slopes, "slopes");
      const double expected = penalty.data()[0];
      EXPECT_NEAR(download(penalty_there).data()[0], expected,
                  static_cast<double>(features + 4) * 0x1p-52 * std::abs(expected));
      EXPECT_EQ(expected != 0, n != 0);
    }
  EXPECT_EQ(compared, 4U * (2 + 34 + 258 + 701));
}

}  // namespace
}  // namespace refract
