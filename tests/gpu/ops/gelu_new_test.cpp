#include "refract/ops/gelu_new.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "refract/base/random.hpp"
#include "support/gpu.hpp"

namespace refract {
namespace {

using GeluNewOnGpu = test::OnGpu;

// Both bodies compute y = x / (1 + e) from the same argument, bit for bit (nothing is fused in
// either), but their e differs: fast_exp is within 2e-7 of exp, expf within 2 ulp = 2 * 2^-23. That
// moves y by at most as much, relatively, as e / (1 + e) <= 1. Addition and division round in both:
// 4 * 2^-24. Together below 7e-7 |y|. The CPU's exp stops at exp(88) = 1.6e38, the GPU's goes on:
// below 1e-38 |x|.
double bound(float x, float y) {
  return 7e-7 * std::abs(static_cast<double>(y)) + 1e-38 * std::abs(static_cast<double>(x));
}

TEST_F(GeluNewOnGpu, agrees_with_the_cpu_within_the_error_of_the_two_exps) {
  Stream host;
  std::size_t compared = 0;
  // The last is more than one grid of 4096 blocks of 256 threads.
  for (const std::size_t size : {0U, 1U, 31U, 32U, 33U, 1023U, 1025U, 1'100'003U}) {
    Tensor<float> x({size});
    const CounterRng rng(Purpose::test, {size});
    for (std::size_t i = 0; i < size; ++i)
      x.data()[i] = static_cast<float>((i % 7 == 0 ? 20 : 2) * rng.normal(i));
    const Tensor<float> there = upload(x);
    const std::vector<float> before(x.span().begin(), x.span().end());

    gelu_new(there.view(), stream);
    gelu_new(x.view(), host);

    const Tensor<float> found = download(there);
    for (std::size_t i = 0; i < size; ++i, ++compared)
      ASSERT_NEAR(found.data()[i], x.data()[i], bound(before[i], x.data()[i]))
          << "x " << before[i] << " size " << size;
  }
  EXPECT_EQ(compared, 1'102'148U);
}

TEST_F(GeluNewOnGpu, keeps_large_values_and_kills_very_negative_ones) {
  Tensor<float> x({4});
  x.data()[0] = 50.0F, x.data()[1] = 1e6F, x.data()[2] = -50.0F, x.data()[3] = 0.0F;
  const Tensor<float> there = upload(x);

  gelu_new(there.view(), stream);

  const Tensor<float> found = download(there);
  EXPECT_EQ(found.data()[0], 50.0F);
  EXPECT_EQ(found.data()[1], 1e6F);
  EXPECT_NEAR(found.data()[2], 0.0F, 1e-30F);
  EXPECT_EQ(found.data()[3], 0.0F);
}

}  // namespace
}  // namespace refract
