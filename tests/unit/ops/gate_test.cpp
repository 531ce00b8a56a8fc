#include "refract/ops/gate.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "refract/ops/gelu_new.hpp"
#include "support/bytes_of_rows.hpp"
#include "support/random_tensor.hpp"

namespace refract {
namespace {

double silu(double x) { return x / (1 + std::exp(-x)); }
double gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}

struct Gate {
  void (*run)(TensorView<const float>, TensorView<float>, Stream&);
  double (*act)(double);
};
constexpr Gate kGates[] = {{silu_gate, silu}, {gelu_gate, gelu_tanh}};

TEST(Gate, equals_fp64_for_odd_widths) {
  Stream stream;
  for (const Gate& gate : kGates)
    for (const std::size_t width : {1, 7, 8, 33, 1531}) {
      const auto x = test::random_tensor({37, 2 * width}, width, 6);
      Tensor<float> y({37, width});

      gate.run(x.cview(), y.view(), stream);

      for (std::size_t i = 0; i < 37; ++i)
        for (std::size_t d = 0; d < width; ++d) {
          const double g = static_cast<double>(x.row(i)[d]);
          const double v = static_cast<double>(x.row(i)[width + d]);
          ASSERT_NEAR(static_cast<double>(y.row(i)[d]), gate.act(g) * v,
                      3.6e-7 * std::max(std::abs(g), 1e-7) * std::abs(v))
              << "width " << width << " gate " << g;
        }
    }
}

// With a value of 1 the gate is its activation.
TEST(Gate, keeps_the_error_of_its_activation_everywhere) {
  Stream stream;
  const std::size_t width = 40001;
  Tensor<float> x({1, 2 * width}), y({1, width});
  for (std::size_t i = 0; i < width; ++i) {
    x.data()[i] = static_cast<float>((static_cast<double>(i) - 20000) / 150);
    x.data()[width + i] = 1;
  }
  for (const Gate& gate : kGates) {
    gate.run(x.cview(), y.view(), stream);

    double worst = 0;
    for (std::size_t i = 0; i < width; ++i) {
      const double g = static_cast<double>(x.data()[i]);
      const double off = std::abs(static_cast<double>(y.data()[i]) - gate.act(g));
      worst = std::max(worst, off / std::max(std::abs(g), 1e-7));
    }
    EXPECT_LT(worst, 3e-7);
  }
}

TEST(Gate, has_the_gelu_of_gelu_new) {
  Stream stream;
  auto x = test::random_tensor({5, 66}, 1, 3);
  for (std::size_t i = 0; i < 5; ++i) std::ranges::fill(x.row(i).subspan(33), 1.0F);
  Tensor<float> y({5, 33});

  gelu_gate(x.cview(), y.view(), stream);
  gelu_new(x.view(), stream);

  for (std::size_t i = 0; i < 5; ++i)
    EXPECT_EQ(0, std::memcmp(y.row(i).data(), x.row(i).data(), 33 * sizeof(float)));
}

TEST(Gate, gives_a_row_the_same_bytes_beside_any_others) {
  Stream stream;
  const auto x = test::random_tensor({203, 74}, 1, 3);
  for (const Gate& gate : kGates)
    test::expect_bytes_of_rows(203, [&](std::size_t first, std::size_t count) {
      Tensor<float> y({count, 37});
      gate.run(x.cview().rows(first, count), y.view(), stream);
      return y;
    });
}

}  // namespace
}  // namespace refract
