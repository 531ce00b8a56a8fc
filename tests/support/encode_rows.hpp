#pragma once
// Problems for EncodeSelect, and what its bodies are compared with.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <optional>
#include <vector>

#include "refract/base/random.hpp"
#include "refract/ops/encode_select.hpp"
#include "support/row_entries.hpp"

namespace refract::test {

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

struct EncodeProblem {
  Tensor<float> W_enc, b_enc, x;         // [F, D], [F], [n, D]
  std::vector<std::uint8_t> included{};  // empty: all
  std::size_t k = 0;                     // or 0: above the floor
  std::vector<float> floor{};            // [F], or empty
  float share = 1, offset = 0, least = 0;
  bool by_magnitude = false;
  std::vector<std::uint32_t> dead{};  // the first of [F]
  std::size_t aux_k = 0;              // 0: no AuxK
  std::optional<std::uint64_t> unless{};
  [[nodiscard]] std::size_t d_sae() const { return b_enc.size(); }
};

// Small integers: every product and sum is exact in fp32 in any order. Few different values, so
// most rows have ties at the edge of the k.
inline EncodeProblem integer_problem(std::size_t n, std::size_t d_sae, std::size_t d_in,
                                     std::uint64_t seed) {
  return {.W_enc = integers({d_sae, d_in}, seed, 2),
          .b_enc = integers({d_sae}, seed + 1000, 3),
          .x = integers({n, d_in}, seed + 3000, 3)};
}
inline EncodeProblem normal_problem(std::size_t n, std::size_t d_sae, std::size_t d_in,
                                    std::uint64_t seed) {
  return {.W_enc = normals({d_sae, d_in}, seed),
          .b_enc = normals({d_sae}, seed + 1000),
          .x = normals({n, d_in}, seed + 3000)};
}

struct Encoded {
  std::vector<EntryRow> rows, aux;
  std::uint64_t used = 0;
};

inline Encoded encode(const EncodeProblem& p, Device device) {
  Stream stream(device);
  const std::size_t n = p.x.axis(0), d_sae = p.d_sae();
  const Tensor<float> W_enc = copied_to(p.W_enc, device, stream),
                      b_enc = copied_to(p.b_enc, device, stream),
                      x = copied_to(p.x, device, stream),
                      floor = copied_to(p.floor, device, stream);
  const Tensor<std::uint8_t> included = copied_to(p.included, device, stream);
  std::vector<std::uint32_t> dead_features = p.dead;
  dead_features.resize(d_sae, 0xFFFFFFFFU);
  const Tensor<std::uint32_t> dead = copied_to(dead_features, device, stream);
  const Tensor<std::uint64_t> dead_count =
      copied_to(std::vector<std::uint64_t>{p.dead.size()}, device, stream);
  const Tensor<std::uint64_t> unless =
      copied_to(std::vector<std::uint64_t>{p.unless.value_or(0)}, device, stream);
  // What was there before, which `unless` leaves.
  EntryLists out = entry_lists(std::vector<EntryRow>(n, EntryRow{}), p.k, device, stream);
  if (p.k == 0) out = EntryLists(n, 0, n * d_sae, device, stream);
  out.counts = copied_to(std::vector<std::uint32_t>(n, 0), device, stream);
  if (p.k == 0) out.starts = copied_to(std::vector<std::uint64_t>(n, 0), device, stream);
  out.used = copied_to(std::vector<std::uint64_t>{777}, device, stream);
  const EntryLists aux(n, std::max<std::size_t>(1, p.aux_k), 0, device, stream);
  const Tensor<std::uint32_t> no_counts =
      copied_to(std::vector<std::uint32_t>(n, 0), device, stream);
  AuxSelection selection{{dead.view(), dead_count.view()}, p.aux_k, aux.view()};
  if (p.unless) selection.out.counts = no_counts.view();

  EncodeSelect encoder(d_sae, p.x.axis(1), device);
  encoder.pack(W_enc.cview(), b_enc.cview(), stream);
  encoder.run({.x = x.cview(),
               .included = included.cview(),
               .choice = {.k = p.k,
                          .by_magnitude = p.by_magnitude,
                          .floor = floor.cview(),
                          .share = p.share,
                          .offset = p.offset,
                          .least = p.least},
               .out = out.view(),
               .aux = p.aux_k > 0 ? &selection : nullptr,
               .unless = p.unless ? unless.cview() : TensorView<const std::uint64_t>()},
              stream);

  Encoded found{.rows = rows_of(out, stream), .aux = {}};
  if (p.aux_k > 0 && !p.unless) found.aux = rows_of(aux, stream);
  found.used = host_values(out.used, stream)[0];
  return found;
}

inline std::size_t expect_same(const Encoded& found, const Encoded& expected) {
  EXPECT_EQ(found.used, expected.used);
  return expect_same_rows(found.rows, expected.rows) + expect_same_rows(found.aux, expected.aux);
}

// pre in fp64, and how far a body may be off it:
//   (D + 1) u S,  S = |b_enc| + sum over d of |x_d| |W_fd|,  u = 2^-24
// for D products and D additions in some order, fused or not (Higham 2002, sections 3.1 and 4.2).
// The terms of second order are far below the 1 % added here.
struct ExactPre {
  double value, error;
};
inline ExactPre exact_pre(const EncodeProblem& p, std::size_t row, std::size_t f) {
  double value = static_cast<double>(p.b_enc.data()[f]), size = std::abs(value);
  for (std::size_t d = 0; d < p.x.axis(1); ++d) {
    const double term =
        static_cast<double>(p.x.row(row)[d]) * static_cast<double>(p.W_enc.row(f)[d]);
    value += term;
    size += std::abs(term);
  }
  return {value, 1.01 * static_cast<double>(p.x.axis(1) + 1) * 0x1p-24 * size};
}

// One row of at most `most` of `features`, against exact values: each value is above `floor` and
// within its error; no feature that is larger than the least of them, beyond its own error, is
// missing.
inline void expect_right_row(const EntryRow& found, const EncodeProblem& p, std::size_t row,
                             std::size_t most, double floor,
                             const std::vector<std::uint32_t>& features) {
  std::vector<bool> selected(p.d_sae());
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t j = 0; j < found.size(); ++j) {
    const std::size_t f = found[j].first;
    ASSERT_TRUE(std::binary_search(features.begin(), features.end(), f));
    ASSERT_FALSE(j != 0 && found[j - 1].first >= f)
        << "row " << row << " is not ascending at " << j;
    const ExactPre exact = exact_pre(p, row, f);
    const auto value = static_cast<double>(found[j].second);
    EXPECT_NEAR(value, exact.value, exact.error) << "row " << row << " feature " << f;
    EXPECT_GT(value, floor);
    selected[f] = true;
    least = std::min(least, value);
  }
  EXPECT_LE(found.size(), most);
  if (found.size() < most) least = floor;  // whatever is above it should be there
  for (const std::uint32_t f : features) {
    if (selected[f]) continue;
    const ExactPre exact = exact_pre(p, row, f);
    EXPECT_LE(exact.value - exact.error, least) << "row " << row << " lacks feature " << f;
  }
}
inline std::vector<std::uint32_t> all_features(const EncodeProblem& p) {
  std::vector<std::uint32_t> out(p.d_sae());
  for (std::size_t f = 0; f < out.size(); ++f) out[f] = static_cast<std::uint32_t>(f);
  return out;
}

// Every row right as above. Returns how many entries there are.
inline std::size_t expect_right(const Encoded& found, const EncodeProblem& p) {
  std::size_t entries = 0;
  for (std::size_t row = 0; row < found.rows.size(); ++row) {
    expect_right_row(found.rows[row], p, row, p.k > 0 ? p.k : p.d_sae(), 0, all_features(p));
    entries += found.rows[row].size();
    if (p.aux_k == 0) continue;
    expect_right_row(found.aux[row], p, row, std::min(p.aux_k, p.dead.size()),
                     -std::numeric_limits<double>::infinity(), p.dead);
    entries += found.aux[row].size();
  }
  return entries;
}

}  // namespace refract::test
