#include "refract/sae/normaliser.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "support/spaces.hpp"

namespace refract {
namespace {

constexpr std::size_t kDim = 9, kRows = 700;

class Normalisers : public ::testing::Test {
 protected:
  Tensor<float> x_ = test::uneven_rows(kRows, kDim, 1);
  HookCalibration hook_ = test::calibration_of("blocks.1.hook_mlp_out", x_);
  Stream stream_;

  [[nodiscard]] Tensor<float> to(std::string_view word, TensorView<const float> x) {
    Tensor<float> u(x.shape());
    make_normaliser(hook_, word)->on({})->to(x, u.view(), stream_);
    return u;
  }
};

TEST_F(Normalisers, scale_the_mean_norm_to_the_root_of_the_width_or_not_at_all) {
  hook_.mean_norm = 12;

  EXPECT_EQ(make_normaliser(hook_, "sqrt_d")->affine().factor, 0.25);
  EXPECT_EQ(make_normaliser(hook_, "none")->affine().factor, 1);
  for (const double norm : {0.0, 1e-40, 1e40}) {
    hook_.mean_norm = norm;
    EXPECT_THROW((void)make_normaliser(hook_, "sqrt_d"), NumericalError) << norm;
    EXPECT_EQ(make_normaliser(hook_, "none")->affine().factor, 1);
  }
}

// SAELens' formula: torch's std has D - 1 in the denominator, epsilon stands outside of the root.
TEST_F(Normalisers, of_layer_norm_take_each_row_in_units_of_its_own) {
  const Tensor<float> u = to("layer_norm", x_.cview());

  for (std::size_t i = 0; i < kRows; ++i) {
    const auto row = x_.row(i);
    const double mean = std::accumulate(row.begin(), row.end(), 0.0) / kDim;
    double squares = 0;
    for (const float value : row) squares += std::pow(double(value) - mean, 2);
    const double std = std::sqrt(squares / (kDim - 1));
    for (std::size_t d = 0; d < kDim; ++d)
      EXPECT_NEAR(u.row(i)[d], (double(row[d]) - mean) / (std + 1e-5), 1e-6);
  }
  EXPECT_EQ(make_normaliser(hook_, "layer_norm")->normalize_activations(), "layer_norm");
  EXPECT_EQ(make_normaliser(hook_, "whiten")->normalize_activations(), "none");
}

TEST_F(Normalisers, of_layer_norm_give_zeros_for_a_row_that_does_not_vary) {
  Tensor<float> flat(Shape{2, kDim});
  std::ranges::fill(flat.span(), 3.0F);

  const Tensor<float> u = to("layer_norm", flat.cview());

  for (const float value : u.span()) EXPECT_EQ(value, 0);
}

TEST_F(Normalisers, of_whiten_leave_rows_without_mean_and_with_one_variance) {
  const HookCalibration white = test::calibration_of("white", to("whiten", x_.cview()));

  for (std::size_t i = 0; i < kDim; ++i) {
    EXPECT_NEAR(white.mean[i], 0, 1e-4);
    for (std::size_t j = 0; j < kDim; ++j)
      EXPECT_NEAR(white.covariance[i * kDim + j], i == j ? 1 : 0, 1e-3);
  }
}

TEST_F(Normalisers, put_back_what_they_took) {
  for (const std::string_view word : normalize_words()) {
    const SharedNormaliser normaliser = make_normaliser(hook_, word);
    const Tensor<float> u = to(word, x_.cview());
    Tensor<float> back(x_.shape());

    normaliser->on({})->back(x_.cview(), u.cview(), back.view(), stream_);

    for (std::size_t i = 0; i < x_.size(); ++i)
      EXPECT_NEAR(back.data()[i], x_.data()[i], 2e-4) << word;
  }
}

TEST_F(Normalisers, give_a_row_the_same_bytes_whatever_stands_beside_it_and_for_any_threads) {
  const int threads = thread_count();
  std::size_t compared = 0;
  for (const std::string_view word : normalize_words()) {
    set_thread_count(1);
    const Tensor<float> all = to(word, x_.cview());
    set_thread_count(2);
    for (const auto& [first, count] :
         {std::pair<std::size_t, std::size_t>{0, 1}, {7, 30}, {511, 2}, {0, kRows}}) {
      const Tensor<float> some = to(word, x_.cview().rows(first, count));
      EXPECT_TRUE(std::ranges::equal(some.span(), all.cview().rows(first, count).span())) << word;
      compared += some.size();
    }
  }
  set_thread_count(threads);
  EXPECT_EQ(compared, 4U * 733 * kDim);
}

TEST_F(Normalisers, gather_stored_rows_as_they_normalise_them) {
  const StoredRows stored{
      {reinterpret_cast<const std::byte*>(x_.data()), Shape{kRows, kDim * sizeof(float)}},
      DType::f32,
      kDim};
  const std::vector<std::uint32_t> rows{5, 699, 0};
  for (const std::string_view word : normalize_words()) {
    Tensor<float> u(Shape{rows.size(), kDim});

    make_normaliser(hook_, word)
        ->on({})
        ->gather(stored, {rows.data(), Shape{rows.size()}}, 0, u.view(), stream_);

    const Tensor<float> all = to(word, x_.cview());
    for (std::size_t i = 0; i < rows.size(); ++i)
      EXPECT_TRUE(std::ranges::equal(u.row(i), all.row(rows[i]))) << word;
  }
}

// Of a point that stands for many rows: their mean, say, becomes the mean of what rows become.
TEST_F(Normalisers, place_a_mean_where_the_mean_of_the_rows_goes) {
  for (const std::string_view word : normalize_words()) {
    const std::vector<float> placed = make_normaliser(hook_, word)->of_point(hook_.mean);
    const HookCalibration normalised = test::calibration_of("u", to(word, x_.cview()));

    // A row of layer_norm has a std of its own, which here differs by a quarter from row to row.
    const double bound = word == "layer_norm" ? 0.2 : 1e-4;
    for (std::size_t d = 0; d < kDim; ++d)
      EXPECT_NEAR(placed[d], normalised.mean[d], bound * std::max(1.0, std::abs(double(placed[d]))))
          << word << ' ' << d;
  }
}

TEST_F(Normalisers, of_whiten_say_where_a_calibration_keeps_none) {
  hook_.whitening = nullptr;
  try {
    (void)make_normaliser(hook_, "whiten");
    FAIL() << "made";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("Begin a new run folder"), std::string::npos);
  }
}

TEST(NormaliseWords, say_what_a_transcoder_and_several_hooks_may_have) {
  EXPECT_TRUE(restores_other_rows("whiten"));
  EXPECT_FALSE(restores_other_rows("layer_norm"));
  EXPECT_TRUE(takes_several_hooks("sqrt_d"));
  EXPECT_FALSE(takes_several_hooks("whiten"));
  EXPECT_EQ(normaliser_bytes("sqrt_d", 640, 4096, {}), 0U);
  EXPECT_GT(normaliser_bytes("whiten", 640, 4096, {}), 4U * 640 * (640 + 4096));
}

}  // namespace
}  // namespace refract
