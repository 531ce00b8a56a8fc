#include "refract/ops/attention.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "refract/base/parallel.hpp"
#include "refract/base/random.hpp"

namespace refract {
namespace {

constexpr std::size_t kHeads = 2, kHeadWidth = 28, kWidth = kHeads * kHeadWidth;

Tensor<float> random_qkv(std::size_t rows, std::uint64_t seed) {
  Tensor<float> tensor({rows, 3 * kWidth});
  const CounterRng rng(Purpose::test, {seed});
  for (std::size_t i = 0; i < tensor.size(); ++i)
    tensor.data()[i] = static_cast<float>(rng.normal(i));
  return tensor;
}

Tensor<float> attend(const Tensor<float>& qkv, std::vector<std::uint32_t> starts,
                     float scale = 0.2F) {
  Stream stream;
  Tensor<float> out({qkv.axis(0), kWidth});
  causal_attention(qkv.cview(), starts, kHeads, scale, out.view(), stream);
  return out;
}

double naive(const Tensor<float>& qkv, std::size_t first, std::size_t row, std::size_t column,
             double scale) {
  const std::size_t head = column / kHeadWidth;
  std::vector<double> p;
  double largest = -1e300, sum = 0, mixed = 0;
  for (std::size_t j = first; j <= row; ++j) {
    double score = 0;
    for (std::size_t i = 0; i < kHeadWidth; ++i) {
      score += static_cast<double>(qkv.row(row)[head * kHeadWidth + i]) *
               static_cast<double>(qkv.row(j)[kWidth + head * kHeadWidth + i]) * scale;
    }
    p.push_back(score);
    largest = std::max(largest, score);
  }
  for (double& value : p) sum += value = std::exp(value - largest);
  for (std::size_t j = first; j <= row; ++j) {
    mixed += p[j - first] / sum * static_cast<double>(qkv.row(j)[2 * kWidth + column]);
  }
  return mixed;
}

TEST(CausalAttention, equals_fp64_in_every_segment) {
  const auto qkv = random_qkv(200, 1);
  const std::vector<std::uint32_t> starts{0, 1, 1, 64, 65, 200};

  const auto out = attend(qkv, starts);

  for (std::size_t segment = 0; segment + 1 < starts.size(); ++segment) {
    for (std::size_t row = starts[segment]; row < starts[segment + 1]; ++row) {
      for (std::size_t c = 0; c < kWidth; ++c) {
        ASSERT_NEAR(static_cast<double>(out.row(row)[c]), naive(qkv, starts[segment], row, c, 0.2F),
                    3e-6)
            << "row " << row << " column " << c;
      }
    }
  }
}

TEST(CausalAttention, gives_a_segment_the_same_bytes_wherever_it_stands) {
  const auto qkv = random_qkv(300, 1);
  const auto packed = attend(qkv, {0, 37, 212, 300});

  Tensor<float> alone_qkv({175, 3 * kWidth});
  std::memcpy(alone_qkv.data(), qkv.row(37).data(), alone_qkv.size() * sizeof(float));
  const auto alone = attend(alone_qkv, {0, 175});

  EXPECT_EQ(0, std::memcmp(alone.data(), packed.row(37).data(), alone.size() * sizeof(float)));
}

TEST(CausalAttention, never_looks_ahead) {
  auto qkv = random_qkv(150, 1);
  const auto before = attend(qkv, {0, 150});
  for (std::size_t row = 100; row < 150; ++row) {
    for (float& value : qkv.row(row)) value = 1e4F;
  }

  const auto after = attend(qkv, {0, 150});

  EXPECT_EQ(0, std::memcmp(before.data(), after.data(), 100 * kWidth * sizeof(float)));
  EXPECT_NE(0, std::memcmp(before.row(100).data(), after.row(100).data(), kWidth * sizeof(float)));
}

TEST(CausalAttention, survives_scores_far_apart) {
  auto qkv = random_qkv(70, 1);
  for (float& value : qkv.span()) value *= 100;

  const auto out = attend(qkv, {0, 70});

  for (const float value : out.span()) ASSERT_TRUE(std::isfinite(value));
}

TEST(CausalAttention, gives_the_same_bytes_for_any_number_of_threads) {
  const int before = thread_count();
  const auto qkv = random_qkv(130, 1);
  set_thread_count(1);
  const auto one = attend(qkv, {0, 60, 130});
  set_thread_count(3);
  const auto three = attend(qkv, {0, 60, 130});
  set_thread_count(before);

  EXPECT_EQ(0, std::memcmp(one.data(), three.data(), one.size() * sizeof(float)));
}

}  // namespace
}  // namespace refract
