#include "ops/bf16_gemm.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "refract/base/dtype.hpp"
#include "refract/base/random.hpp"

namespace refract {
namespace {

Tensor<float> normals(std::size_t rows, std::size_t columns, std::uint64_t seed) {
  Tensor<float> made(Shape{rows, columns});
  const CounterRng rng(Purpose::test, {seed});
  for (std::size_t i = 0; i < made.size(); ++i) made.data()[i] = static_cast<float>(rng.normal(i));
  return made;
}

class Bf16Gemm : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!runs_bf16_gemm()) GTEST_SKIP() << "this processor has no AVX-512-BF16";
  }
  static Tensor<float> product(TensorView<const float> x, const Bf16Matrix& W,
                               std::size_t columns) {
    Tensor<float> y(Shape{x.axis(0), columns});
    std::vector<std::uint32_t> work(Bf16Matrix::words(x.axis(0), x.axis(1)));
    W.multiply(x, work.data(), y.view());
    return y;
  }
};

// Operands are rounded; what is left is the rounding of K sums in fp32.
TEST_F(Bf16Gemm, is_the_product_of_rounded_operands) {
  for (const auto& [M, K, N] : {std::array<std::size_t, 3>{1, 1, 1},
                                {3, 7, 5},
                                {8, 256, 48},
                                {13, 300, 100},
                                {64, 513, 131}}) {
    const Tensor<float> x = normals(M, K, 1), W = normals(N, K, 2), b = normals(N, 1, 3);
    const TensorView<const float> bias(b.data(), Shape{N});
    Bf16Matrix packed;
    packed.pack(W.cview(), bias);

    const Tensor<float> y = product(x.cview(), packed, N);

    for (std::size_t i = 0; i < M; ++i)
      for (std::size_t j = 0; j < N; ++j) {
        double sum = b.data()[j], size = std::abs(sum);
        for (std::size_t k = 0; k < K; ++k) {
          const double term =
              double(to_float(to_bf16(x.row(i)[k]))) * double(to_float(to_bf16(W.row(j)[k])));
          sum += term;
          size += std::abs(term);
        }
        EXPECT_NEAR(y.row(i)[j], sum, double(K + 1) * std::pow(2.0, -23) * size)
            << M << ' ' << K << ' ' << N << ": " << i << ' ' << j;
      }
  }
}

TEST_F(Bf16Gemm, gives_a_row_the_same_bytes_whatever_rows_are_beside_it) {
  constexpr std::size_t K = 300, N = 100;
  const Tensor<float> x = normals(64, K, 4), W = normals(N, K, 5), b = normals(N, 1, 6);
  Bf16Matrix packed;
  packed.pack(W.cview(), {b.data(), Shape{N}});
  const Tensor<float> all = product(x.cview(), packed, N);

  for (std::size_t count = 1; count <= 17; ++count)
    for (const std::size_t first : {std::size_t{0}, std::size_t{5}, std::size_t{47}}) {
      const Tensor<float> some = product(x.cview().rows(first, count), packed, N);
      ASSERT_EQ(0, std::memcmp(some.data(), all.row(first).data(), some.size() * sizeof(float)))
          << count << " rows from " << first;
    }
}

}  // namespace
}  // namespace refract
