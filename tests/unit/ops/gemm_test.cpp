#include "refract/ops/gemm.hpp"

#include <gtest/gtest.h>

#include "ops/gemm_kernel.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/random.hpp"

namespace refract {
namespace {

Tensor<float> random_tensor(Shape shape, std::uint64_t seed) {
  Tensor<float> tensor(shape);
  const CounterRng rng(Purpose::test, {seed});
  for (std::size_t i = 0; i < tensor.size(); ++i)
    tensor.data()[i] = static_cast<float>(rng.normal(i));
  return tensor;
}

double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

TEST(Gemm, equals_fp64_for_all_kinds_of_sizes) {
  Stream stream;
  std::size_t compared = 0;
  for (const std::size_t rows : {0, 1, 3, 4, 67, 131}) {
    for (const std::size_t columns : {1, 23, 24, 49, 320}) {
      for (const std::size_t depth : {1, 33, 257}) {
        const auto x = random_tensor({rows, depth}, 1), w = random_tensor({columns, depth}, 2);
        const auto b = random_tensor({columns}, 3);
        Tensor<float> y({rows, columns});

        gemm_nt(x.cview(), PackedMatrix(w.cview(), b.cview(), stream), y.view(), 0, stream);

        for (std::size_t i = 0; i < rows; ++i) {
          for (std::size_t j = 0; j < columns; ++j) {
            const double expected = dot(x.row(i), w.row(j)) + static_cast<double>(b.data()[j]);
            // A tenth of the worst case: each of the depth terms rounds a sum below 48 to 2^-24.
            const double tolerance = 3e-7 * static_cast<double>(depth) + 1e-6;
            ASSERT_NEAR(static_cast<double>(y.row(i)[j]), expected, tolerance)
                << rows << " x " << columns << " x " << depth << " at " << i << ", " << j;
            ++compared;
          }
        }
      }
    }
  }
  EXPECT_GT(compared, 0U);
}

TEST(Gemm, without_a_bias_starts_at_zero) {
  Stream stream;
  const auto x = random_tensor({2, 8}, 1), w = random_tensor({3, 8}, 2);
  Tensor<float> y({2, 3});

  gemm_nt(x.cview(), PackedMatrix(w.cview(), {}, stream), y.view(), 0, stream);

  EXPECT_NEAR(static_cast<double>(y.row(1)[2]), dot(x.row(1), w.row(2)), 1e-5);
}

TEST(Gemm, packing_again_forgets_the_weights_before) {
  Stream stream;
  const auto x = random_tensor({2, 8}, 1), first = random_tensor({30, 8}, 2),
             second = random_tensor({3, 8}, 4);
  PackedMatrix packed(first.cview(), {}, stream);
  Tensor<float> y({2, 3});

  packed.pack(second.cview(), {}, stream);
  gemm_nt(x.cview(), packed, y.view(), 0, stream);

  EXPECT_NEAR(static_cast<double>(y.row(1)[2]), dot(x.row(1), second.row(2)), 1e-5);
}

TEST(Gemm, refuses_shapes_that_do_not_fit_naming_the_axis) {
  Stream stream;
  const auto x = random_tensor({2, 7}, 1), w = random_tensor({3, 8}, 2);
  Tensor<float> y({2, 3});

  try {
    gemm_nt(x.cview(), PackedMatrix(w.cview(), {}, stream), y.view(), 0, stream);
    FAIL() << "accepted K = 7 for K = 8";
  } catch (const std::exception& error) {
    EXPECT_NE(std::string(error.what()).find("K"), std::string::npos) << error.what();
  }
}

TEST(GemmSelfTest, passes_for_the_kernel_that_is_used) {
  const auto result = gemm_self_test();

  EXPECT_TRUE(result.passed) << result.difference;
  EXPECT_GT(result.rows_compared, 1000U);
}

TEST(GemmSelfTest, fails_for_a_product_that_depends_on_how_many_rows_there_are) {
  // As a BLAS does: other sums for a call of few rows.
  const auto splits_small_calls = [](TensorView<const float> x, TensorView<const float> w,
                                     TensorView<float> y, std::size_t) {
    for (std::size_t i = 0; i < x.axis(0); ++i) {
      for (std::size_t j = 0; j < w.axis(0); ++j) {
        float even = 0, odd = 0;
        for (std::size_t k = 0; k < x.axis(1); ++k) {
          (x.axis(0) < 4 && k % 2 == 1 ? odd : even) += x.row(i)[k] * w.row(j)[k];
        }
        y.row(i)[j] = even + odd;
      }
    }
  };

  const auto result = gemm_self_test(splits_small_calls);

  EXPECT_FALSE(result.passed);
  EXPECT_NE(result.difference.find("global row"), std::string::npos) << result.difference;
}

// y = x W^T with the terms of `odd` summed apart: other bytes, the same product.
template <typename Odd>
void split_product(TensorView<const float> x, TensorView<const float> w, TensorView<float> y,
                   Odd odd) {
  for (std::size_t i = 0; i < x.axis(0); ++i)
    for (std::size_t j = 0; j < w.axis(0); ++j) {
      float first = 0, second = 0;
      for (std::size_t k = 0; k < x.axis(1); ++k)
        (odd(i, j, k) ? second : first) += x.row(i)[k] * w.row(j)[k];
      y.row(i)[j] = first + second;
    }
}

// What OpenBLAS was seen to depend on beside the number of rows (SPEC 6). None of these asks the
// site's library: which of them it does is its own affair.
TEST(GemmSelfTest, fails_for_a_product_that_depends_on_the_number_of_threads) {
  const auto by_threads = [](TensorView<const float> x, TensorView<const float> w,
                             TensorView<float> y, std::size_t) {
    const auto threads = static_cast<std::size_t>(thread_count());
    split_product(x, w, y, [threads](std::size_t, std::size_t, std::size_t k) {
      return threads > 2 && k % threads == 1;
    });
  };

  const auto result = gemm_self_test(by_threads);

  EXPECT_FALSE(result.passed);
  EXPECT_NE(result.difference.find("threads"), std::string::npos) << result.difference;
}

TEST(GemmSelfTest, fails_for_a_product_that_depends_on_a_row_s_place_in_its_call) {
  const auto by_place = [](TensorView<const float> x, TensorView<const float> w,
                           TensorView<float> y, std::size_t) {
    split_product(x, w, y, [rows = x.axis(0)](std::size_t i, std::size_t, std::size_t k) {
      return i >= rows / 4 * 4 && k % 2 == 1;  // a last panel that is not full
    });
  };

  EXPECT_FALSE(gemm_self_test(by_place).passed);
}

TEST(GemmSelfTest, passes_for_a_plain_sum) {
  const auto plain = [](TensorView<const float> x, TensorView<const float> w, TensorView<float> y,
                        std::size_t) {
    split_product(x, w, y, [](std::size_t, std::size_t, std::size_t) { return false; });
  };

  const auto result = gemm_self_test(plain);

  EXPECT_TRUE(result.passed) << result.difference;
}

TEST(GemmSelfTest, fails_for_a_product_that_lets_rows_touch_each_other) {
  const auto leaks = [](TensorView<const float> x, TensorView<const float> w, TensorView<float> y,
                        std::size_t) {
    for (std::size_t i = 0; i < x.axis(0); ++i) {
      for (std::size_t j = 0; j < w.axis(0); ++j) {
        y.row(i)[j] = static_cast<float>(dot(x.row(i), w.row(j))) + 1e-6F * x.row(0)[0];
      }
    }
  };

  EXPECT_FALSE(gemm_self_test(leaks).passed);
}

TEST(Gemm, says_what_multiplies) {
  EXPECT_TRUE(gemm_backend_description().starts_with("refract fp32 "));
  EXPECT_EQ(gemm_backend_description(), gemm_backends().front());
}

// Puts back the kernel that the process began with.
class Kernels : public testing::Test {
 protected:
  ~Kernels() override { set_gemm_kernel(*runnable_gemm_kernels().front()); }

  static std::vector<float> product() {
    Stream stream;
    const auto x = random_tensor({67, 257}, 1), w = random_tensor({49, 257}, 2);
    Tensor<float> y({67, 49});
    gemm_nt(x.cview(), PackedMatrix(w.cview(), {}, stream), y.view(), 0, stream);
    return {y.span().begin(), y.span().end()};
  }
};

TEST_F(Kernels, are_the_one_described_once_used_and_fused_ones_give_the_same_bytes) {
  const std::vector<float> first = product();
  std::size_t used = 0;
  for (const std::string& backend : gemm_backends()) {
    ASSERT_TRUE(use_gemm_kernel(backend)) << backend;
    EXPECT_EQ(gemm_backend_description(), backend);
    EXPECT_EQ(product(), first) << backend;
    EXPECT_TRUE(gemm_self_test().passed) << backend;
    ++used;
  }
  EXPECT_GE(used, 1U);
}

TEST_F(Kernels, that_this_processor_does_not_offer_change_nothing) {
  const std::string before = gemm_backend_description();

  EXPECT_FALSE(use_gemm_kernel("refract fp32 sve2, tiles of 4 x 96"));
  EXPECT_FALSE(use_gemm_kernel(""));

  EXPECT_EQ(gemm_backend_description(), before);
}

// Also the one without fused multiply-adds, which only an old processor offers.
TEST_F(Kernels, are_all_near_to_each_other_and_pass_the_self_test) {
  const std::vector<float> first = product();
  for (const GemmKernel* kernel : runnable_gemm_kernels()) {
    set_gemm_kernel(*kernel);
    EXPECT_EQ(&gemm_kernel(), kernel);
    EXPECT_TRUE(gemm_self_test().passed) << kernel->name;
    const std::vector<float> found = product();
    for (std::size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], first[i], 1e-3);
  }
}

TEST_F(Kernels, refuse_what_was_packed_for_another) {
  const std::vector<const GemmKernel*> kernels = runnable_gemm_kernels();
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  if (kernels.size() < 2) GTEST_SKIP() << "this processor runs one kernel";
  Stream stream;
  const auto w = random_tensor({49, 8}, 2), x = random_tensor({2, 8}, 1);
  Tensor<float> y({2, 49});
  const PackedMatrix packed(w.cview(), {}, stream);
  set_gemm_kernel(*kernels.back());

  EXPECT_DEATH(gemm_nt(x.cview(), packed, y.view(), 0, stream), "packed in tiles of");
}

}  // namespace
}  // namespace refract
