#include "refract/ops/rms_norm.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "support/bytes_of_rows.hpp"
#include "support/random_tensor.hpp"

namespace refract {
namespace {

using test::random_tensor;

// Element d of the row, normalised in fp64.
double expected(std::span<const float> x, std::span<const float> weight, double eps,
                std::size_t d) {
  double mean = 0;
  for (const float value : x)
    mean += static_cast<double>(value) * static_cast<double>(value) / static_cast<double>(x.size());
  return static_cast<double>(x[d]) / std::sqrt(mean + eps) * static_cast<double>(weight[d]);
}

TEST(RmsNorm, divides_by_the_root_of_the_mean_square_by_hand) {
  Stream stream;
  Tensor<float> x(Shape{1, 2}), weight(Shape{2}), y(Shape{1, 2});
  x.data()[0] = 1;
  x.data()[1] = 7;  // mean square 25
  weight.data()[0] = 5;
  weight.data()[1] = -10;

  rms_norm(x.cview(), weight.cview(), 0.0F, y.view(), stream);

  EXPECT_FLOAT_EQ(y.data()[0], 1);
  EXPECT_FLOAT_EQ(y.data()[1], -14);
}

TEST(RmsNorm, equals_fp64_for_odd_widths_and_adds_eps_under_the_root) {
  Stream stream;
  for (const std::size_t width : {1, 7, 31, 32, 33, 576, 2049}) {
    auto x = random_tensor({37, width}, 1);
    for (float& value : x.row(3)) value *= 1e-4F;
    for (float& value : x.row(4)) value = value * 1e4F + 3e5F;
    std::ranges::fill(x.row(5), 0.0F);
    const auto weight = random_tensor({width}, 2);
    Tensor<float> y({37, width});

    rms_norm(x.cview(), weight.cview(), 1e-6F, y.view(), stream);

    for (std::size_t i = 0; i < 37; ++i)
      for (std::size_t d = 0; d < width; ++d) {
        const double y_64 = expected(x.row(i), weight.span(), static_cast<double>(1e-6F), d);
        ASSERT_NEAR(static_cast<double>(y.row(i)[d]), y_64, 2e-7 * std::abs(y_64))
            << "width " << width << " row " << i;
      }
  }
}

TEST(RmsNorm, may_work_in_place) {
  Stream stream;
  auto x = random_tensor({3, 33}, 1);
  const auto weight = random_tensor({33}, 2);
  Tensor<float> y({3, 33});
  rms_norm(x.cview(), weight.cview(), 1e-5F, y.view(), stream);

  rms_norm(x.cview(), weight.cview(), 1e-5F, x.view(), stream);

  EXPECT_EQ(0, std::memcmp(x.data(), y.data(), x.size() * sizeof(float)));
}

TEST(RmsNorm, gives_a_row_the_same_bytes_beside_any_others) {
  Stream stream;
  const auto x = random_tensor({203, 97}, 1), weight = random_tensor({97}, 2);

  test::expect_bytes_of_rows(203, [&](std::size_t first, std::size_t count) {
    Tensor<float> y({count, 97});
    rms_norm(x.cview().rows(first, count), weight.cview(), 1e-5F, y.view(), stream);
    return y;
  });
}

TEST(RmsNormHeads, gives_each_head_what_it_would_get_alone_and_leaves_the_rest) {
  Stream stream;
  const std::size_t n = 40, width = 13, first = 5, heads = 3, row_width = 51;
  const auto x = random_tensor({n, row_width}, 1), weight = random_tensor({width}, 2);
  auto y = test::rows_of(x, 0, n);

  rms_norm_heads(y.view(), {.first = first, .heads = heads, .width = width}, weight.cview(), 1e-6F,
                 stream);

  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t c = 0; c < row_width; ++c) {
      if (c < first || c >= first + heads * width) {
        ASSERT_EQ(y.row(i)[c], x.row(i)[c]) << "column " << c;
        continue;
      }
      const std::size_t head = (c - first) / width;
      const auto of_head = std::span<const float>(x.row(i)).subspan(first + head * width, width);
      const double y_64 =
          expected(of_head, weight.span(), static_cast<double>(1e-6F), (c - first) % width);
      ASSERT_NEAR(static_cast<double>(y.row(i)[c]), y_64, 2e-7 * std::abs(y_64)) << "column " << c;
    }
}

TEST(RmsNormHeads, gives_a_row_the_same_bytes_beside_any_others) {
  Stream stream;
  const auto x = random_tensor({203, 70}, 1), weight = random_tensor({16}, 2);

  test::expect_bytes_of_rows(203, [&](std::size_t first, std::size_t count) {
    auto y = test::rows_of(x, first, count);
    rms_norm_heads(y.view(), {.first = 2, .heads = 4, .width = 16}, weight.cview(), 1e-5F, stream);
    return y;
  });
}

}  // namespace
}  // namespace refract
