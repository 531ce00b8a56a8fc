#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "ops/fast_exp.hpp"
#include "refract/base/parallel.hpp"
#include "refract/ops/add.hpp"
#include "refract/ops/embedding.hpp"
#include "refract/ops/gelu_new.hpp"
#include "refract/ops/layer_norm.hpp"
#include "refract/ops/row_map.hpp"
#include "refract/ops/row_norm.hpp"
#include "refract/ops/token_kl.hpp"
#include "refract/ops/token_nll.hpp"
#include "support/bytes_of_rows.hpp"
#include "support/random_tensor.hpp"

namespace refract {
namespace {

using test::random_tensor;

TEST(RowNorm, of_a_row_of_one_has_no_spread_and_puts_it_back) {
  Tensor<float> x(Shape{2, 1}), u(Shape{2, 1});
  x.data()[0] = 5;
  x.data()[1] = -1;
  Stream host;

  normalise_rows(x.cview(), u.view(), host);
  EXPECT_EQ(u.data()[0], 0);
  restore_rows(x.cview(), u.cview(), u.view(), host);

  EXPECT_EQ(u.data()[0], 5);
  EXPECT_EQ(u.data()[1], -1);
}

TEST(RowNorm, divides_by_the_std_of_a_sample_and_the_epsilon_behind_it) {
  Tensor<float> x(Shape{1, 4}), u(Shape{1, 4});
  std::ranges::copy(std::initializer_list<float>{1.0F, 2.0F, 3.0F, 4.0F}, x.data());
  Stream host;

  normalise_rows(x.cview(), u.view(), host);

  EXPECT_NEAR(u.data()[3], 1.5 / (std::sqrt(5.0 / 3) + 1e-5), 1e-7);
}

// y = (x - before) W^T + after, of numbers that are exact.
TEST(RowMap, subtracts_before_it_multiplies_and_adds_behind) {
  Tensor<float> W(Shape{1, 2}), before(Shape{2}), after(Shape{1}), x(Shape{600, 2}),
      y(Shape{600, 1});
  std::ranges::copy(std::initializer_list<float>{2.0F, 8.0F}, W.data());
  std::ranges::copy(std::initializer_list<float>{16777216.0F, 1.0F}, before.data());
  after.data()[0] = 0.5F;
  for (std::size_t i = 0; i < 600; ++i) {
    x.row(i)[0] = 16777218.0F;
    x.row(i)[1] = static_cast<float>(i);
  }
  Stream host;

  RowMap(W.cview(), before.cview(), after.cview(), {}).run(x.cview(), y.view(), host);

  for (std::size_t i = 0; i < 600; ++i)
    EXPECT_EQ(y.data()[i], 4.5F + 8 * (static_cast<float>(i) - 1)) << i;
}

TEST(FastExp, is_within_2e_7_of_exp_and_saturates_outside) {
  double worst = 0;
  for (double x = -87; x <= 88; x += 0.00137) {
    const auto argument = static_cast<float>(x);
    const double expected = std::exp(static_cast<double>(argument));
    worst =
        std::max(worst, std::abs(static_cast<double>(fast_exp(argument)) - expected) / expected);
  }

  EXPECT_LT(worst, 2e-7);
  EXPECT_EQ(fast_exp(0.0F), 1.0F);
  EXPECT_LT(fast_exp(-1e30F), 1e-37F);
  EXPECT_TRUE(std::isfinite(fast_exp(1e30F)));
}

TEST(GeluNew, equals_the_tanh_form_in_fp64) {
  Stream stream;
  Tensor<float> x({40001});
  for (std::size_t i = 0; i < x.size(); ++i)
    x.data()[i] = static_cast<float>((static_cast<double>(i) - 20000) / 1500);
  const std::vector<float> before(x.span().begin(), x.span().end());

  gelu_new(x.view(), stream);

  for (std::size_t i = 0; i < x.size(); ++i) {
    const double value = static_cast<double>(before[i]);
    const double u = std::sqrt(2 / std::numbers::pi) * (value + 0.044715 * value * value * value);
    const double expected = 0.5 * value * (1 + std::tanh(u));
    ASSERT_NEAR(static_cast<double>(x.data()[i]), expected, 3e-7 * std::max(std::abs(value), 1e-7))
        << value;
  }
}

TEST(GeluNew, keeps_large_values_and_kills_very_negative_ones) {
  Stream stream;
  Tensor<float> x({4});
  const std::array<float, 4> values{50.0F, 1e6F, -50.0F, 0.0F};
  std::ranges::copy(values, x.data());

  gelu_new(x.view(), stream);

  EXPECT_EQ(x.data()[0], 50.0F);
  EXPECT_EQ(x.data()[1], 1e6F);
  EXPECT_NEAR(x.data()[2], 0.0F, 1e-30F);
  EXPECT_EQ(x.data()[3], 0.0F);
}

TEST(LayerNorm, equals_fp64_also_for_a_large_mean_and_odd_widths) {
  Stream stream;
  for (const std::size_t width : {1, 7, 8, 9, 256, 771}) {
    auto x = random_tensor({37, width}, 1);
    for (float& value : x.row(5)) value = value * 1e-3F + 300.0F;
    const auto weight = random_tensor({width}, 2), bias = random_tensor({width}, 3);
    Tensor<float> y({37, width});

    layer_norm(x.cview(), weight.cview(), bias.cview(), 1e-5F, y.view(), stream);

    for (std::size_t i = 0; i < 37; ++i) {
      double mean = 0, variance = 0;
      for (const float value : x.row(i))
        mean += static_cast<double>(value) / static_cast<double>(width);
      for (const float value : x.row(i))
        variance += std::pow(static_cast<double>(value) - mean, 2) / static_cast<double>(width);
      const double inverse = 1 / std::sqrt(variance + 1e-5);
      for (std::size_t d = 0; d < width; ++d) {
        const double expected = (static_cast<double>(x.row(i)[d]) - mean) * inverse *
                                    static_cast<double>(weight.data()[d]) +
                                static_cast<double>(bias.data()[d]);
        // The rounded mean of the shifted row costs its own last bit times `inverse`.
        const double tolerance =
            i == 5 ? 3e-5 * inverse * std::abs(static_cast<double>(weight.data()[d])) + 1e-5 : 4e-6;
        ASSERT_NEAR(static_cast<double>(y.row(i)[d]), expected, tolerance)
            << "width " << width << " row " << i;
      }
    }
  }
}

TEST(LayerNorm, may_work_in_place) {
  Stream stream;
  auto x = random_tensor({3, 16}, 1);
  const auto weight = random_tensor({16}, 2), bias = random_tensor({16}, 3);
  Tensor<float> y({3, 16});
  layer_norm(x.cview(), weight.cview(), bias.cview(), 1e-5F, y.view(), stream);

  layer_norm(x.cview(), weight.cview(), bias.cview(), 1e-5F, x.view(), stream);

  EXPECT_EQ(0, std::memcmp(x.data(), y.data(), x.size() * sizeof(float)));
}

TEST(RowOps, give_the_same_bytes_for_any_number_of_threads) {
  Stream stream;
  const int before = thread_count();
  const auto weight = random_tensor({96}, 2), bias = random_tensor({96}, 3);
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 3}) {
    set_thread_count(threads);
    auto x = random_tensor({203, 96}, 1, 3);
    layer_norm(x.cview(), weight.cview(), bias.cview(), 1e-5F, x.view(), stream);
    gelu_new(x.view(), stream);
    add(x.view(), x.cview(), stream);
    results.emplace_back(x.span().begin(), x.span().end());
  }
  set_thread_count(before);

  for (const auto& other : results) {
    EXPECT_EQ(0, std::memcmp(other.data(), results[0].data(), other.size() * sizeof(float)));
  }
}

TEST(Embed, adds_the_rows_of_both_tables) {
  Stream stream;
  const auto tokens = random_tensor({5, 3}, 1), positions = random_tensor({4, 3}, 2);
  const std::array<std::uint32_t, 2> ids{4, 0}, places{3, 1};
  Tensor<float> x({2, 3});

  embed(ids, places, tokens.cview(), positions.cview(), x.view(), stream);

  EXPECT_EQ(x.row(0)[2], tokens.row(4)[2] + positions.row(3)[2]);
  EXPECT_EQ(x.row(1)[0], tokens.row(0)[0] + positions.row(1)[0]);
}

TEST(EmbedTokens, scales_the_rows_of_its_table_and_copies_them_for_one) {
  Stream stream;
  const auto table = random_tensor({5, 3}, 1);
  const std::array<std::uint32_t, 3> ids{4, 0, 4};
  Tensor<float> x({3, 3}), copied({3, 3});

  embed_tokens(ids, table.cview(), 2.5F, x.view(), stream);
  embed_tokens(ids, table.cview(), 1.0F, copied.view(), stream);

  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t d = 0; d < 3; ++d) {
      EXPECT_EQ(x.row(i)[d], 2.5F * table.row(ids[i])[d]);
      EXPECT_EQ(copied.row(i)[d], table.row(ids[i])[d]);
    }
}

TEST(EmbedTokens, gives_a_row_the_same_bytes_beside_any_others) {
  Stream stream;
  const auto table = random_tensor({50, 11}, 1);
  std::vector<std::uint32_t> ids(203);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::uint32_t>(i * 7 % 50);

  test::expect_bytes_of_rows(203, [&](std::size_t first, std::size_t count) {
    Tensor<float> x({count, 11});
    embed_tokens(std::span(ids).subspan(first, count), table.cview(), 3.3F, x.view(), stream);
    return x;
  });
}

TEST(TokenNll, equals_fp64_and_stands_large_logits) {
  Stream stream;
  const auto logits = random_tensor({6, 1001}, 1, 40);
  const std::array<std::uint32_t, 6> targets{0, 1, 2, 500, 999, 1000};
  std::array<float, 6> nll{};

  token_nll(logits.cview(), targets, nll, stream);

  for (std::size_t i = 0; i < 6; ++i) {
    double sum = 0;
    for (const float logit : logits.row(i)) sum += std::exp(static_cast<double>(logit) - 200);
    const double expected = std::log(sum) + 200 - static_cast<double>(logits.row(i)[targets[i]]);
    EXPECT_NEAR(static_cast<double>(nll[i]), expected, 1e-6 * std::max(1.0, expected));
  }
}

double kl_in_fp64(std::span<const float> p, std::span<const float> q) {
  const auto log_sum = [](std::span<const float> logits) {
    const double top = static_cast<double>(*std::ranges::max_element(logits));
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - top);
    return std::log(sum) + top;
  };
  const double log_p = log_sum(p), log_q = log_sum(q);
  double kl = 0;
  for (std::size_t v = 0; v < p.size(); ++v) {
    const double of_p = static_cast<double>(p[v]) - log_p;
    kl += std::exp(of_p) * (of_p - (static_cast<double>(q[v]) - log_q));
  }
  return kl;
}

TEST(TokenKl, gives_the_divergence_of_two_coins_by_hand) {
  Stream stream;
  Tensor<float> p({1, 2}), q({1, 2});
  p.data()[0] = std::log(3.0F);  // 3/4, 1/4
  q.data()[1] = 5;
  q.data()[0] = 5;  // 1/2, 1/2
  std::array<float, 1> kl{};

  token_kl(p.cview(), q.cview(), kl, stream);

  EXPECT_NEAR(static_cast<double>(kl[0]), 0.75 * std::log(1.5) + 0.25 * std::log(0.5), 1e-6);
}

TEST(TokenKl, equals_fp64_for_distributions_near_and_far) {
  Stream stream;
  for (const std::size_t vocab : {1, 7, 8, 1001, 8192})
    for (const double apart : {0.0, 1e-3, 0.1, 3.0}) {
      const auto p = random_tensor({5, vocab}, 1, 4), noise = random_tensor({5, vocab}, 2, apart);
      Tensor<float> q({5, vocab});
      for (std::size_t i = 0; i < q.size(); ++i) q.data()[i] = p.data()[i] + noise.data()[i];
      std::array<float, 5> kl{};

      token_kl(p.cview(), q.cview(), kl, stream);

      for (std::size_t i = 0; i < 5; ++i) {
        const double expected = kl_in_fp64(p.row(i), q.row(i));
        EXPECT_NEAR(static_cast<double>(kl[i]), expected, 1e-6 * std::max(1.0, expected));
        EXPECT_GE(kl[i], 0.0F);
        if (apart == 0) {
          EXPECT_EQ(kl[i], 0.0F);
        }
      }
    }
}

TEST(TokenKl, stands_logits_that_underflow_on_either_side) {
  Stream stream;
  Tensor<float> p({2, 3}), q({2, 3});
  std::ranges::copy(std::array<float, 6>{3000, 0, -3000, 0, -200, 0}, p.data());
  std::ranges::copy(std::array<float, 6>{3000, -3000, 0, 0, 0, -500}, q.data());
  std::array<float, 2> kl{};

  token_kl(p.cview(), q.cview(), kl, stream);

  EXPECT_EQ(kl[0], 0.0F);
  EXPECT_NEAR(static_cast<double>(kl[1]), kl_in_fp64(p.row(1), q.row(1)), 1e-3);
  EXPECT_GT(kl[1], 200.0F);
}

}  // namespace
}  // namespace refract
