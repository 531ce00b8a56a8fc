// TopkEncoder: the CUDA body against the CPU body.
#include "refract/sae/topk_encoder.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "support/gpu.hpp"
#include "support/topk_rows.hpp"

namespace refract {
namespace {

using test::Selected;

class TopkEncoderOnGpu : public test::OnGpu {
 protected:
  Selected encode_there(const SaeParameters& parameters, const Tensor<float>& x, std::size_t k) {
    SaeParameters there;
    there.W_enc = upload(parameters.W_enc);
    there.b_enc = upload(parameters.b_enc);
    there.b_dec = upload(parameters.b_dec);
    const Tensor<float> x_there = upload(x);
    const Selected rows(x.axis(0), k, gpu);
    TopkEncoder encoder(gpu);
    encoder.pack(there, stream);
    encoder.encode(there, x_there.cview(), rows.views(), stream);
    Selected here;
    here.features = download(rows.features);
    here.values = download(rows.values);
    here.counts = download(rows.counts);
    return here;
  }
};

// Small integers: every product and sum is exact in fp32 in any order, so both bodies must agree to
// the byte. Few different values, so most rows have ties at the edge of the k.
TEST_F(TopkEncoderOnGpu, selects_what_the_cpu_selects_to_the_byte_where_sums_are_exact) {
  std::size_t compared = 0;
  for (const std::size_t d_sae : {1U, 31U, 32U, 33U, 255U, 257U, 1023U, 1025U, 8192U})
    for (const std::size_t n : {0U, 1U, 5U, 67U})
      for (const std::size_t k : {1U, 2U, 32U, 700U}) {
        const std::size_t d_in = n == 5 ? 1 : 37;
        const SaeParameters parameters = test::integer_parameters(d_sae, d_in, n + k);
        const Tensor<float> x = test::integer_rows(n, d_in, k);

        const Selected expected = test::encode_on_cpu(parameters, x, k);
        const Selected found = encode_there(parameters, x, k);

        compared += test::expect_same(found, expected);
      }
  EXPECT_GT(compared, 10'000U);
}

TEST_F(TopkEncoderOnGpu, takes_more_rows_than_one_panel_holds) {
  const SaeParameters parameters = test::integer_parameters(96, 16, 1);
  const Tensor<float> x = test::integer_rows(4096 * 2 + 3, 16, 2);

  const Selected found = encode_there(parameters, x, 8);

  EXPECT_GT(test::expect_same(found, test::encode_on_cpu(parameters, x, 8)), 8000U);
}

TEST_F(TopkEncoderOnGpu, agrees_with_the_cpu_within_the_rounding_of_a_sum) {
  const SaeParameters parameters = test::normal_parameters(3001, 771, 1);
  const Tensor<float> x = test::normal_rows(67, 771, 2);

  const Selected found = encode_there(parameters, x, 32);

  EXPECT_GT(test::expect_close(found, test::encode_on_cpu(parameters, x, 32), parameters, x),
            67U * 30U);
}

TEST_F(TopkEncoderOnGpu, never_selects_nan_or_what_is_not_positive) {
  SaeParameters parameters = test::integer_parameters(40, 8, 1);
  for (std::size_t f = 0; f < 40; ++f) parameters.b_enc.data()[f] = f == 7 ? 1000.0F : -1000.0F;
  parameters.b_enc.data()[9] = std::numeric_limits<float>::quiet_NaN();
  const Tensor<float> x = test::integer_rows(3, 8, 2);

  const Selected found = encode_there(parameters, x, 4);

  for (std::size_t row = 0; row < 3; ++row) {
    EXPECT_EQ(found.counts.data()[row], 1U);
    EXPECT_EQ(found.features.row(row)[0], 7U);
  }
}

TEST_F(TopkEncoderOnGpu, gives_a_row_the_same_bytes_whatever_rows_are_around_it) {
  const SaeParameters parameters = test::normal_parameters(1000, 384, 1);
  const Tensor<float> x = test::normal_rows(129, 384, 2);
  const Selected all = encode_there(parameters, x, 16);

  for (const std::size_t row : {0U, 1U, 77U, 128U}) {
    Tensor<float> one({1, 384});
    std::memcpy(one.data(), x.row(row).data(), 384 * sizeof(float));
    const Selected alone = encode_there(parameters, one, 16);
    EXPECT_EQ(0, std::memcmp(alone.values.data(), all.values.row(row).data(), 16 * sizeof(float)))
        << "row " << row;
    EXPECT_EQ(0, std::memcmp(alone.features.data(), all.features.row(row).data(),
                             16 * sizeof(std::uint32_t)));
  }
}

}  // namespace
}  // namespace refract
