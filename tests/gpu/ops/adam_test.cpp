#include "refract/ops/adam.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "refract/ops/step_sums.hpp"
#include "refract/tensor/dot.hpp"
#include "support/gpu_entries.hpp"

namespace refract {
namespace {

constexpr AdamNumbers kNumbers{.beta1 = 0.9F,
                               .rest1 = 0.1F,
                               .beta2 = 0.999F,
                               .rest2 = 0.001F,
                               .rate = 0.01F,
                               .root = 1.3F,
                               .epsilon = 1e-8F};

Tensor<double> scalars_of(double scale, bool finite) {
  Tensor<double> scalars({kStepScalars});
  scalars.data()[kScale] = scale;
  scalars.data()[kFinite] = finite ? 1 : 0;
  return scalars;
}

struct Case {
  std::size_t count, d_in, d_out;
  bool threshold = false, non_negative = false, finite = true;
};

class AdamOnGpu : public test::EntriesOnGpu {
 protected:
  // W_enc, b_enc, W_dec, threshold, then their m, then their v.
  static AdamRows view(const std::vector<Tensor<float>>& all, bool non_negative) {
    const auto weights = [&](std::size_t i) {
      return AdamWeights{all[i].view(), all[4 + i].view(), all[8 + i].view()};
    };
    return {.W_enc = weights(0),
            .b_enc = weights(1),
            .W_dec = weights(2),
            .further = {weights(3)},
            .further_is_threshold = all[3].size() != 0,
            .decoder = {.non_negative = non_negative}};
  }

  // Three updates on both devices; returns how many values were compared.
  std::size_t compare(const Case& c) {
    std::vector<Tensor<float>> here, there;
    for (std::uint64_t of = 0; of < 3; ++of)  // weights, m, v
      for (const Shape& shape : {Shape{c.count, c.d_in}, Shape{c.count}, Shape{c.count, c.d_out},
                                 Shape{c.threshold ? c.count : 0}}) {
        here.push_back(test::normal_values(shape, 10 + here.size()));
        for (float& value : here.back().span())
          value = of == 0 ? value : of == 1 ? 0.1F * value : 0.01F * value * value;
      }
    // Where the weights start: a row of zeros that no gradient moves, one without a positive entry.
    for (const std::size_t tensor : {2U, 6U, 10U})
      if (c.count > 0) std::fill_n(here[tensor].data(), c.d_out, 0.0F);
    if (c.count > 1)
      for (float& value : here[2].row(1)) value = -1 - std::abs(value);
    for (const Tensor<float>& tensor : here) there.push_back(upload(tensor));
    const Tensor<double> scalars = scalars_of(0.37, c.finite), scalars_there = upload(scalars);
    const GradientRow row{c.d_in, c.d_out};

    for (std::uint64_t step = 0; step < 3; ++step) {
      const Tensor<float> gradients = test::normal_values({c.count, row.size()}, step);
      if (c.count > 0) std::fill_n(gradients.data() + row.decoder(), c.d_out, 0.0F);
      const Tensor<float> gradients_there = upload(gradients);
      adam_rows(gradients_there.cview(), view(there, c.non_negative), kNumbers,
                scalars_there.cview(), stream);
      adam_rows(gradients.cview(), view(here, c.non_negative), kNumbers, scalars.cview(), host);
    }

    std::size_t compared = 0;
    for (std::size_t i = 0; i < here.size(); ++i) {
      const Tensor<float> found = download(there[i]);
      compared += test::expect_same_bytes(found, here[i], "tensor " + std::to_string(i));
    }
    for (std::size_t f = 1; f < c.count && c.finite; ++f)
      EXPECT_NEAR(squared_norm(here[2].row(f).data(), c.d_out), 1, 1e-5);
    return compared;
  }
};

TEST_F(AdamOnGpu, updates_rows_to_the_bytes_of_the_cpu) {
  std::size_t compared = 0;
  for (const std::size_t count : {0U, 1U, 31U, 33U})
    for (const std::size_t d : {1U, 31U, 32U, 33U, 300U})
      for (const bool threshold : {false, true}) {
        SCOPED_TRACE(testing::Message() << count << " rows of " << d);
        compared += compare({count, d, d + 2, threshold});
      }
  EXPECT_GT(compared, 300'000U);
}

TEST_F(AdamOnGpu, keeps_decoder_rows_without_negative_entries) {
  std::size_t compared = 0;
  for (const std::size_t d : {1U, 31U, 32U, 33U, 300U})
    compared += compare({33, d, d, false, true});
  EXPECT_GT(compared, 30'000U);
}

TEST_F(AdamOnGpu, makes_the_first_of_the_largest_1_where_no_entry_is_positive) {
  constexpr std::size_t kWidth = 70;
  std::vector<Tensor<float>> here;
  for (std::size_t i = 0; i < 12; ++i)
    here.emplace_back(i % 4 == 1 ? Shape{1} : i % 4 == 3 ? Shape{0} : Shape{1, kWidth});
  std::fill_n(here[2].data(), kWidth, -3.0F);
  here[2].data()[37] = here[2].data()[38] = here[2].data()[5 + 64] = -2.0F;
  std::vector<Tensor<float>> there;
  for (const Tensor<float>& tensor : here) there.push_back(upload(tensor));
  const Tensor<float> gradients = upload(Tensor<float>({1, GradientRow{kWidth, kWidth}.size()}));

  adam_rows(gradients.cview(), view(there, true), kNumbers, upload(scalars_of(1, true)).cview(),
            stream);

  const Tensor<float> found = download(there[2]);
  for (std::size_t d = 0; d < kWidth; ++d) EXPECT_EQ(found.data()[d], d == 37 ? 1.0F : 0.0F) << d;
}

TEST_F(AdamOnGpu, changes_nothing_where_the_step_is_refused) {
  EXPECT_GT(compare({5, 33, 33, true, true, false}), 1000U);
}

TEST_F(AdamOnGpu, updates_a_vector_to_the_bytes_of_the_cpu) {
  std::size_t compared = 0;
  for (const std::size_t size : {0U, 1U, 31U, 32U, 33U, 1023U, 1025U})
    for (const bool finite : {true, false}) {
      const Tensor<double> gradient({size});
      const CounterRng rng(Purpose::test, {size});
      for (std::size_t i = 0; i < size; ++i) gradient.data()[i] = rng.normal(i);
      const Tensor<float> w = test::normal_values({size}, 1), m = test::normal_values({size}, 2),
                          v({size});
      for (std::size_t i = 0; i < size; ++i) v.data()[i] = m.data()[i] * m.data()[i];
      const Tensor<float> w_there = upload(w), m_there = upload(m), v_there = upload(v);
      const Tensor<double> gradient_there = upload(gradient), scalars = scalars_of(0.4, finite),
                           scalars_there = upload(scalars);

      adam_vector(gradient_there.cview(), w_there.view(), m_there.view(), v_there.view(), kNumbers,
                  scalars_there.cview(), stream);
      adam_vector(gradient.cview(), w.view(), m.view(), v.view(), kNumbers, scalars.cview(), host);

      compared += test::expect_same_bytes(download(w_there), w, "w") +
                  test::expect_same_bytes(download(m_there), m, "m") +
                  test::expect_same_bytes(download(v_there), v, "v");
    }
  EXPECT_EQ(compared, 6U * (1 + 31 + 32 + 33 + 1023 + 1025));
}

}  // namespace
}  // namespace refract
