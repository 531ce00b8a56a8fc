// TopkEncoder on the CPU, against a plain one. tests/gpu/sae checks the CUDA body with the same
// comparisons, which are here shown to notice what is wrong.
#include "refract/sae/topk_encoder.hpp"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <numeric>

#include "refract/base/error.hpp"
#include "support/topk_rows.hpp"

namespace refract {
namespace {

using test::Selected;

// Sums in descending d and one rounding for each product: another order than the packed kernel's.
Selected plain(const SaeParameters& p, const Tensor<float>& x, std::size_t k) {
  Selected out(x.axis(0), k);
  for (std::size_t row = 0; row < x.axis(0); ++row) {
    std::vector<float> pre(p.d_sae());
    for (std::size_t f = 0; f < pre.size(); ++f) {
      for (std::size_t d = p.d_in(); d-- > 0;)
        pre[f] += (x.row(row)[d] - p.b_dec.data()[d]) * p.W_enc.row(f)[d];
      pre[f] += p.b_enc.data()[f];
    }
    std::vector<std::uint32_t> order(pre.size());
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return pre[a] > pre[b]; });
    order.resize(std::min(k, order.size()));
    std::erase_if(order, [&](auto f) { return !(pre[f] > 0); });
    std::sort(order.begin(), order.end());
    out.counts.data()[row] = static_cast<std::uint32_t>(order.size());
    std::copy(order.begin(), order.end(), out.features.row(row).begin());
    for (std::size_t j = 0; j < order.size(); ++j) out.values.row(row)[j] = pre[order[j]];
  }
  return out;
}

TEST(TopkEncoder, equals_the_plain_one_to_the_byte_where_sums_are_exact) {
  std::size_t compared = 0;
  for (const std::size_t d_sae : {1U, 33U, 1025U})
    for (const std::size_t k : {1U, 2U, 32U, 700U}) {
      const SaeParameters parameters = test::integer_parameters(d_sae, 37, k);
      const Tensor<float> x = test::integer_rows(67, 37, k);

      compared += test::expect_same(test::encode_on_cpu(parameters, x, k), plain(parameters, x, k));
    }
  EXPECT_GT(compared, 10'000U);
}

TEST(TopkEncoder, agrees_with_the_plain_one_within_the_rounding_of_a_sum) {
  const SaeParameters parameters = test::normal_parameters(1001, 771, 1);
  const Tensor<float> x = test::normal_rows(35, 771, 2);

  const std::size_t shared = test::expect_close(test::encode_on_cpu(parameters, x, 32),
                                                plain(parameters, x, 32), parameters, x);

  EXPECT_GT(shared, 35U * 30U);
}

TEST(TopkEncoder, is_checked_by_comparisons_that_notice_a_wrong_value_and_a_missing_feature) {
  const SaeParameters parameters = test::normal_parameters(101, 64, 1);
  const Tensor<float> x = test::normal_rows(1, 64, 2);
  const Selected right = test::encode_on_cpu(parameters, x, 8);
  Selected wrong_value = test::encode_on_cpu(parameters, x, 8);
  wrong_value.values.data()[3] *= 1.0005F;  // what TF32 would do: 11 bits of significand
  const Selected missing = test::encode_on_cpu(parameters, x, 7);
  Selected short_row(1, 8);
  short_row.counts.data()[0] = 7;
  std::copy_n(missing.features.data(), 7, short_row.features.data());
  std::copy_n(missing.values.data(), 7, short_row.values.data());

  testing::TestPartResultArray failures;
  std::array<int, 3> failed{};
  const std::array<const Selected*, 3> candidates{&right, &wrong_value, &short_row};
  for (std::size_t i = 0; i < 3; ++i) {
    const int before = failures.size();
    const testing::ScopedFakeTestPartResultReporter reporter(&failures);
    test::expect_right_row(*candidates[i], parameters, x, 0);
    failed[i] = failures.size() - before;
  }

  EXPECT_EQ(failed[0], 0);
  EXPECT_EQ(failed[1], 1);
  EXPECT_GE(failed[2], 1);
}

TEST(TopkEncoder, refuses_shapes_that_do_not_fit_and_k_of_zero) {
  const SaeParameters parameters = test::integer_parameters(8, 4, 1);
  const Tensor<float> x = test::integer_rows(3, 4, 1);
  Stream stream;
  TopkEncoder encoder;
  encoder.pack(parameters, stream);

  EXPECT_THROW(encoder.encode(parameters, x.cview(), Selected(2, 2).views(), stream), SystemError);
  EXPECT_THROW(encoder.encode(parameters, x.cview(), Selected(3, 0).views(), stream), SystemError);
}

}  // namespace
}  // namespace refract
