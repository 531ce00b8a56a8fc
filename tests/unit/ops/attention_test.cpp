#include "refract/ops/attention.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/gemm_kernel.hpp"
#include "refract/base/parallel.hpp"
#include "support/bytes_of_rows.hpp"
#include "support/random_tensor.hpp"

namespace refract {
namespace {

constexpr std::size_t kWidth = 56;
constexpr AttentionShape kPlain{.heads = 2, .kv_heads = 2, .head_width = 28, .scale = 0.2F};
// All that a model may ask for, alone and together.
constexpr AttentionShape kShapes[] = {
    kPlain,
    {.heads = 6, .kv_heads = 2, .head_width = 9, .scale = 0.3F},
    {.heads = 3, .kv_heads = 1, .head_width = 80, .scale = 0.1F},
    {.heads = 2, .kv_heads = 2, .head_width = 5, .scale = 0.4F, .window = 1},
    {.heads = 2, .kv_heads = 2, .head_width = 28, .scale = 0.2F, .window = 37},
    {.heads = 2, .kv_heads = 2, .head_width = 28, .scale = 0.2F, .window = 64},
    {.heads = 2, .kv_heads = 2, .head_width = 28, .scale = 0.2F, .soft_cap = 0.7F},
    {.heads = 4, .kv_heads = 2, .head_width = 33, .scale = 0.2F, .window = 50, .soft_cap = 2}};

std::size_t qkv_width(const AttentionShape& shape) {
  return (shape.heads + 2 * shape.kv_heads) * shape.head_width;
}

Tensor<float> random_qkv(std::size_t rows, std::uint64_t seed, std::size_t width = 3 * kWidth) {
  return test::random_tensor({rows, width}, seed);
}

Tensor<float> attend(const Tensor<float>& qkv, std::vector<std::uint32_t> starts,
                     const AttentionShape& shape = kPlain) {
  Stream stream;
  Tensor<float> out({qkv.axis(0), shape.heads * shape.head_width});
  causal_attention(qkv.cview(), starts, shape, out.view(), stream);
  return out;
}

double naive(const Tensor<float>& qkv, std::size_t first, std::size_t row, std::size_t column,
             const AttentionShape& shape) {
  const std::size_t width = shape.head_width, head = column / width;
  const std::size_t kv_head = head / (shape.heads / shape.kv_heads);
  const std::size_t k = (shape.heads + kv_head) * width, v = k + shape.kv_heads * width;
  const double cap = static_cast<double>(shape.soft_cap);
  double sum = 0, mixed = 0;
  for (std::size_t j = first; j <= row; ++j) {
    if (shape.window != 0 && j + shape.window <= row) continue;
    double score = 0;
    for (std::size_t i = 0; i < width; ++i)
      score += static_cast<double>(qkv.row(row)[head * width + i]) *
               static_cast<double>(qkv.row(j)[k + i]) * static_cast<double>(shape.scale);
    if (cap > 0) score = cap * std::tanh(score / cap);
    sum += std::exp(score);
    mixed += std::exp(score) * static_cast<double>(qkv.row(j)[v + column % width]);
  }
  return mixed / sum;
}

TEST(CausalAttention, equals_fp64_in_every_segment) {
  const std::vector<std::uint32_t> starts{0, 1, 1, 64, 65, 265};
  for (const AttentionShape& shape : kShapes) {
    const auto qkv = random_qkv(265, 1, qkv_width(shape));

    const auto out = attend(qkv, starts, shape);

    for (std::size_t segment = 0; segment + 1 < starts.size(); ++segment)
      for (std::size_t row = starts[segment]; row < starts[segment + 1]; ++row)
        for (std::size_t c = 0; c < out.axis(1); ++c)
          ASSERT_NEAR(static_cast<double>(out.row(row)[c]),
                      naive(qkv, starts[segment], row, c, shape), 3e-6)
              << "row " << row << " column " << c << " shape " << &shape - kShapes;
  }
}

TEST(CausalAttention, lets_a_window_of_one_copy_its_own_value) {
  const AttentionShape shape{
      .heads = 2, .kv_heads = 1, .head_width = 3, .scale = 0.4F, .window = 1};
  const auto qkv = random_qkv(150, 1, 12);

  const auto out = attend(qkv, {0, 150}, shape);

  for (std::size_t row = 0; row < 150; ++row)
    for (std::size_t c = 0; c < 6; ++c) ASSERT_EQ(out.row(row)[c], qkv.row(row)[9 + c % 3]);
}

TEST(CausalAttention, gives_the_bytes_of_no_window_for_one_that_holds_all) {
  const auto qkv = random_qkv(200, 1);
  auto shape = kPlain;
  shape.window = 200;

  const auto windowed = attend(qkv, {0, 200}, shape), all = attend(qkv, {0, 200});

  EXPECT_EQ(0, std::memcmp(windowed.data(), all.data(), all.size() * sizeof(float)));
}

TEST(CausalAttention, gives_the_bytes_of_repeated_heads_for_grouped_ones) {
  const AttentionShape grouped{.heads = 4, .kv_heads = 2, .head_width = 14, .scale = 0.2F};
  const AttentionShape repeated{.heads = 4, .kv_heads = 4, .head_width = 14, .scale = 0.2F};
  const auto qkv = random_qkv(100, 1, qkv_width(grouped));
  Tensor<float> wide({100, qkv_width(repeated)});
  for (std::size_t row = 0; row < 100; ++row)
    for (std::size_t head = 0; head < 12; ++head)
      std::copy_n(qkv.row(row).data() + 14 * (head < 4 ? head : 4 + (head - 4) / 2), 14,
                  wide.row(row).data() + 14 * head);

  const auto few = attend(qkv, {0, 100}, grouped), many = attend(wide, {0, 100}, repeated);

  EXPECT_EQ(0, std::memcmp(few.data(), many.data(), many.size() * sizeof(float)));
}

TEST(CausalAttention, never_looks_behind_its_window) {
  auto shape = kPlain;
  shape.window = 70;
  auto qkv = random_qkv(400, 1);
  const auto before = attend(qkv, {0, 400}, shape);
  for (std::size_t row = 0; row < 150; ++row)
    for (float& value : qkv.row(row)) value = 1e4F;

  const auto after = attend(qkv, {0, 400}, shape);

  const std::size_t free = 150 + 70 - 1;
  EXPECT_EQ(0, std::memcmp(before.row(free).data(), after.row(free).data(),
                           (400 - free) * kWidth * sizeof(float)));
  EXPECT_NE(0, std::memcmp(before.row(free - 1).data(), after.row(free - 1).data(),
                           kWidth * sizeof(float)));
}

TEST(CausalAttention, gives_a_segment_the_same_bytes_wherever_it_stands) {
  for (const AttentionShape& shape : kShapes) {
    const auto qkv = random_qkv(300, 1, qkv_width(shape));
    const auto packed = attend(qkv, {0, 37, 212, 300}, shape);

    const auto alone = attend(test::rows_of(qkv, 37, 175), {0, 175}, shape);

    EXPECT_EQ(0, std::memcmp(alone.data(), packed.row(37).data(), alone.size() * sizeof(float)));
  }
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

TEST(CausalAttention, gives_the_same_bytes_with_every_kernel_that_fuses) {
  const GemmKernel& before = gemm_kernel();
  for (const AttentionShape& shape : kShapes) {
    const auto qkv = random_qkv(200, 1, qkv_width(shape));
    std::vector<Tensor<float>> results;
    for (const GemmKernel* kernel : runnable_gemm_kernels()) {
      if (!kernel->fused) continue;
      set_gemm_kernel(*kernel);
      results.push_back(attend(qkv, {0, 200}, shape));
    }

    for (const auto& other : results)
      EXPECT_EQ(0, std::memcmp(other.data(), results[0].data(), other.size() * sizeof(float)));
  }
  set_gemm_kernel(before);
}

TEST(CausalAttention, gives_the_same_bytes_for_any_number_of_threads) {
  const int before = thread_count();
  for (const AttentionShape& shape : kShapes) {
    const auto qkv = random_qkv(130, 1, qkv_width(shape));
    set_thread_count(1);
    const auto one = attend(qkv, {0, 60, 130}, shape);
    set_thread_count(3);
    const auto three = attend(qkv, {0, 60, 130}, shape);

    EXPECT_EQ(0, std::memcmp(one.data(), three.data(), one.size() * sizeof(float)));
  }
  set_thread_count(before);
}

}  // namespace
}  // namespace refract
