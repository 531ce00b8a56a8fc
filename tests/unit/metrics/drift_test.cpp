#include "refract/metrics/drift.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "refract/base/error.hpp"

namespace refract {
namespace {

Tensor<float> rows_of(const std::vector<std::vector<float>>& rows) {
  Tensor<float> out(Shape{rows.size(), rows.front().size()});
  for (std::size_t f = 0; f < rows.size(); ++f) std::ranges::copy(rows[f], out.row(f).begin());
  return out;
}

TEST(RowDrift, is_that_of_rows_which_stayed_turned_and_vanished_by_hand) {
  const Tensor<float> earlier = rows_of({{1, 0}, {0, 2}, {3, 4}, {1, 1}, {0, 0}});
  const Tensor<float> now = rows_of({{5, 0}, {2, 0}, {4, 3}, {-1, -1}, {1, 0}});

  const RowDrift found = row_drift("SAE 'small'", now.cview(), earlier.cview());

  // Cosines 1, 0, 0.96, -1; sorted -1, 0, 0.96, 1, of which 5 % lies 0.15 behind the first.
  EXPECT_EQ(found.rows, 4U);
  EXPECT_EQ(found.zero_rows, 1U);
  EXPECT_NEAR(found.mean, 0.24, 1e-12);
  EXPECT_NEAR(found.p05, -0.85, 1e-12);
  EXPECT_EQ(found.share_drifted, 0.5);
}

TEST(RowDrift, of_what_did_not_change_is_none) {
  const Tensor<float> same = rows_of({{0.1F, 0.7F, -0.3F}, {1e-20F, 2e-20F, 0}});

  const RowDrift found = row_drift("SAE 'small'", same.cview(), same.cview());

  EXPECT_NEAR(found.mean, 1, 1e-15);
  EXPECT_NEAR(found.p05, 1, 1e-15);
  EXPECT_EQ(found.share_drifted, 0);
}

TEST(RowDrift, without_a_row_to_compare_says_so) {
  const Tensor<float> zero = rows_of({{0, 0}}), one = rows_of({{0, 1}});

  const RowDrift found = row_drift("SAE 'small'", zero.cview(), one.cview());

  EXPECT_EQ(found, (RowDrift{.rows = 0, .zero_rows = 1}));
}

TEST(RowDrift, names_the_row_that_is_not_finite) {
  const Tensor<float> now = rows_of({{1, 0}, {0, 1}}), earlier = rows_of({{1, 0}, {0, NAN}});
  try {
    (void)row_drift("SAE 'small'", now.cview(), earlier.cview());
    FAIL() << "accepted";
  } catch (const NumericalError& error) {
    EXPECT_NE(std::string(error.what()).find("SAE 'small': row 1"), std::string::npos)
        << error.what();
  }
}

TEST(Cosine, is_0_where_a_vector_is_zero) {
  const std::vector<float> zero{0, 0}, one{3, 4}, other{4, 3};

  EXPECT_EQ(cosine("b_dec", zero, one), 0);
  EXPECT_NEAR(cosine("b_dec", one, other), 0.96, 1e-15);
}

}  // namespace
}  // namespace refract
