#pragma once
// Problems for TopkEncoder, and what its bodies are compared with.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <span>
#include <vector>

#include "refract/base/random.hpp"
#include "refract/sae/topk_encoder.hpp"

namespace refract::test {

struct Selected {
  Selected() = default;
  Selected(std::size_t n, std::size_t k, Device device = {})
      : features(Shape{n, k}, device), values(Shape{n, k}, device), counts(Shape{n}, device) {}
  [[nodiscard]] TopkRows views() const { return {features.view(), values.view(), counts.view()}; }
  Tensor<std::uint32_t> features;
  Tensor<float> values;
  Tensor<std::uint32_t> counts;
};

inline Tensor<float> integers(Shape shape, std::uint64_t seed, int largest) {
  Tensor<float> tensor(shape);
  const CounterRng rng(Purpose::test, {seed, shape.size()});
  for (std::size_t i = 0; i < tensor.size(); ++i)
    tensor.data()[i] =
        static_cast<float>(rng.below(i, static_cast<std::uint64_t>(2 * largest + 1))) -
        static_cast<float>(largest);
  return tensor;
}
inline Tensor<float> normals(Shape shape, std::uint64_t seed) {
  Tensor<float> tensor(shape);
  const CounterRng rng(Purpose::test, {seed, shape.size()});
  for (std::size_t i = 0; i < tensor.size(); ++i)
    tensor.data()[i] = static_cast<float>(rng.normal(i));
  return tensor;
}

inline SaeParameters integer_parameters(std::size_t d_sae, std::size_t d_in, std::uint64_t seed) {
  SaeParameters parameters = make_parameters(d_sae, d_in, false);
  parameters.W_enc = integers({d_sae, d_in}, seed, 2);
  parameters.b_enc = integers({d_sae}, seed + 1000, 3);
  parameters.b_dec = integers({d_in}, seed + 2000, 1);
  return parameters;
}
inline Tensor<float> integer_rows(std::size_t n, std::size_t d_in, std::uint64_t seed) {
  return integers({n, d_in}, seed + 3000, 2);
}
inline SaeParameters normal_parameters(std::size_t d_sae, std::size_t d_in, std::uint64_t seed) {
  SaeParameters parameters = make_parameters(d_sae, d_in, false);
  parameters.W_enc = normals({d_sae, d_in}, seed);
  parameters.b_enc = normals({d_sae}, seed + 1000);
  parameters.b_dec = normals({d_in}, seed + 2000);
  return parameters;
}
inline Tensor<float> normal_rows(std::size_t n, std::size_t d_in, std::uint64_t seed) {
  return normals({n, d_in}, seed + 3000);
}

inline Selected encode_on_cpu(const SaeParameters& parameters, const Tensor<float>& x,
                              std::size_t k) {
  Stream stream;
  Selected rows(x.axis(0), k);
  TopkEncoder encoder;
  encoder.pack(parameters, stream);
  encoder.encode(parameters, x.cview(), rows.views(), stream);
  return rows;
}

// Counts, features and values, to the byte; returns how many entries were compared.
inline std::size_t expect_same(const Selected& found, const Selected& expected) {
  std::size_t compared = 0;
  for (std::size_t row = 0; row < expected.counts.size(); ++row) {
    const std::size_t count = expected.counts.data()[row];
    EXPECT_EQ(found.counts.data()[row], count) << "row " << row;
    if (found.counts.data()[row] != count) continue;
    EXPECT_EQ(0, std::memcmp(found.features.row(row).data(), expected.features.row(row).data(),
                             count * sizeof(std::uint32_t)))
        << "row " << row;
    EXPECT_EQ(0, std::memcmp(found.values.row(row).data(), expected.values.row(row).data(),
                             count * sizeof(float)))
        << "row " << row;
    compared += count;
  }
  return compared;
}

// pre in fp64 from the fp32 difference x - b_dec, and how far a body may be off it:
//   (D + 2) u S,  S = |b_enc| + sum over d of |x_d - b_dec_d| |W_fd|,  u = 2^-24
// for D products and D + 1 additions in some order, fused or not (Higham 2002, sections 3.1
// and 4.2). The terms of second order are far below the 1 % added here.
struct ExactPre {
  double value, error;
};
inline ExactPre exact_pre(const SaeParameters& parameters, std::span<const float> x,
                          std::size_t f) {
  double value = static_cast<double>(parameters.b_enc.data()[f]), size = std::abs(value);
  for (std::size_t d = 0; d < x.size(); ++d) {
    const double term = static_cast<double>(x[d] - parameters.b_dec.data()[d]) *
                        static_cast<double>(parameters.W_enc.row(f)[d]);
    value += term;
    size += std::abs(term);
  }
  return {value, 1.01 * static_cast<double>(x.size() + 2) * 0x1p-24 * size};
}

// One row of `found`, against exact values: each value is within its error; no feature that is
// larger than the least of them, beyond its own error, is missing.
inline void expect_right_row(const Selected& found, const SaeParameters& parameters,
                             const Tensor<float>& x, std::size_t row) {
  const std::size_t count = found.counts.data()[row];
  std::vector<bool> selected(parameters.d_sae());
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t j = 0; j < count; ++j) {
    const std::size_t f = found.features.row(row)[j];
    ASSERT_LT(f, parameters.d_sae());
    ASSERT_FALSE(j != 0 && found.features.row(row)[j - 1] >= f)
        << "row " << row << " is not ascending at " << j;
    const ExactPre exact = exact_pre(parameters, x.row(row), f);
    const double value = static_cast<double>(found.values.row(row)[j]);
    EXPECT_NEAR(value, exact.value, exact.error) << "row " << row << " feature " << f;
    EXPECT_GT(value, 0);
    selected[f] = true;
    least = std::min(least, value);
  }
  if (count < found.features.axis(1)) least = 0;  // whatever is positive should be there
  for (std::size_t f = 0; f < selected.size(); ++f) {
    if (selected[f]) continue;
    const ExactPre exact = exact_pre(parameters, x.row(row), f);
    EXPECT_LE(exact.value - exact.error, least) << "row " << row << " lacks feature " << f;
  }
}

// Both right as above, so a shared feature's values are within twice its error. Returns how many
// are shared.
inline std::size_t expect_close(const Selected& found, const Selected& other,
                                const SaeParameters& parameters, const Tensor<float>& x) {
  std::size_t shared = 0;
  for (std::size_t row = 0; row < x.axis(0); ++row) {
    expect_right_row(found, parameters, x, row);
    expect_right_row(other, parameters, x, row);
    const std::span<const std::uint32_t> a = found.features.row(row).first(
                                             found.counts.data()[row]),
                                         b = other.features.row(row).first(
                                             other.counts.data()[row]);
    std::vector<std::uint32_t> both;
    std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
    shared += both.size();
  }
  return shared;
}

}  // namespace refract::test
