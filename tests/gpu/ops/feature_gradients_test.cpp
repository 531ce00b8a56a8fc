// The CUDA bodies of feature_gradients and of what follows it against those of the CPU: the same
// sums in the same order, so equal bytes, but for the norm.
#include "refract/ops/feature_gradients.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "refract/ops/step_sums.hpp"
#include "support/encode_rows.hpp"
#include "support/gpu.hpp"

namespace refract {
namespace {

using test::copied_to;
using test::EntryRow;
using test::host_values;
using test::normals;
using test::same_bytes;

using FeatureGradientsOnGpu = test::OnGpu;

// Entries by feature with their memory.
struct ByFeature {
  ByFeature(const std::vector<EntryRow>& rows, std::size_t features, std::size_t room,
            Device device, Stream& stream) {
    std::vector<std::uint64_t> from(features + 1, 0);
    std::vector<std::uint32_t> of_row;
    std::vector<float> of_value;
    for (std::size_t f = 0; f < features; ++f) {
      for (std::size_t row = 0; row < rows.size(); ++row)
        for (const auto& [feature, value] : rows[row])
          if (feature == f) {
            of_row.push_back(static_cast<std::uint32_t>(row));
            of_value.push_back(value);
          }
      from[f + 1] = of_row.size();
    }
    of_row.resize(of_row.size() + room, 0xFFFFFFFFU);
    of_value.resize(of_row.size(), 1e30F);
    starts = copied_to(from, device, stream);
    row_of = copied_to(of_row, device, stream);
    values = copied_to(of_value, device, stream);
    slopes = Tensor<float>(Shape{of_row.size()}, device);
  }
  [[nodiscard]] FeatureEntries view() const {
    return {starts.view(), row_of.view(), values.view(), slopes.view()};
  }
  Tensor<std::uint64_t> starts;
  Tensor<std::uint32_t> row_of;
  Tensor<float> values, slopes;
};

struct Problem {
  std::size_t features = 1, d_in = 1, d_out = 1, first = 0, count = 1;
  std::vector<std::vector<EntryRow>> terms;
  std::size_t room = 5;
  Through through = Through::pre;  // of the last term
  PenaltyKind penalty = PenaltyKind::l1;
  bool norms = false, moves_decoder = true;
};

std::vector<float> gradients_of(const Problem& p, Device device) {
  Stream stream(device);
  const std::size_t n = p.terms.empty() ? 1 : p.terms[0].size();
  const Tensor<float> input = copied_to(normals({n, p.d_in}, 1), device, stream),
                      W_dec = copied_to(normals({p.features, p.d_out}, 2), device, stream);
  std::vector<ByFeature> entries;
  std::vector<Tensor<float>> errors;
  const Tensor<double> numbers =
      copied_to(std::vector<double>{-0.037, 0.011, 0.0021, 0.004}, device, stream);
  const Tensor<float> norms = copied_to(normals({p.norms ? p.features : 0}, 11), device, stream),
                      slopes = copied_to(normals({p.features}, 12), device, stream),
                      first = copied_to(normals({p.features}, 13), device, stream),
                      second = copied_to(normals({p.features}, 14), device, stream);
  std::vector<GradientTerm> terms;
  for (std::size_t t = 0; t < p.terms.size(); ++t) {
    entries.emplace_back(p.terms[t], p.features, p.room, device, stream);
    errors.push_back(copied_to(normals({n, p.d_out}, 3 + t), device, stream));
    GradientTerm& term = terms.emplace_back();
    term.entries = entries.back().view();
    term.error = errors.back().cview();
    term.factor = numbers.cview().rows(t % 2, 1);
    if (t == 0) {
      term.per_entry = numbers.cview().rows(2, 1);
      term.penalty = {
          .kind = p.penalty, .steepness = 1.5F, .norms = norms.cview(), .slopes = slopes.cview()};
    }
    if (t + 1 < p.terms.size()) continue;
    term.through = p.through;
    term.moves_decoder = p.moves_decoder;
    term.further = {first.cview(), second.cview()};
    term.per_count = numbers.cview().rows(3, 1);
    term.bandwidth = 0.3F;
  }
  const std::size_t row = GradientRow{p.d_in, p.d_out}.size();
  Tensor<float> gradients = copied_to(normals({p.count, row}, 9), device, stream);
  feature_gradients({input.cview(), terms, W_dec.cview()}, p.first, gradients.view(), stream);
  return host_values(gradients, stream);
}

std::size_t expect_same(const Problem& p, Device gpu) {
  const std::vector<float> found = gradients_of(p, gpu), expected = gradients_of(p, {});
  EXPECT_TRUE(same_bytes(found, expected))
      << p.features << " features from " << p.first << ", " << p.count << ", D_in " << p.d_in
      << " D_out " << p.d_out;
  return found.size();
}

// Feature 1 fires in every row, feature 2 in none.
std::vector<EntryRow> rows_with_a_hot_one(std::size_t n, std::size_t features, double probability,
                                          std::uint64_t seed) {
  std::vector<EntryRow> rows = test::random_rows(n, features, probability, seed);
  for (EntryRow& row : rows) {
    std::erase_if(row, [](const auto& entry) { return entry.first == 1 || entry.first == 2; });
    if (features > 1) row.insert(row.begin() + (!row.empty() && row[0].first == 0), {1U, 0.7F});
  }
  return rows;
}

TEST_F(FeatureGradientsOnGpu, are_the_cpu_s_to_the_byte_for_any_shape) {
  std::size_t compared = 0;
  for (const std::size_t features : {1U, 31U, 33U, 70U})
    for (const std::size_t d_in : {1U, 31U, 32U, 33U, 129U})
      for (const std::size_t d_out : {1U, 17U, 128U, 257U})
        compared += expect_same({.features = features,
                                 .d_in = d_in,
                                 .d_out = d_out,
                                 .count = features,
                                 .terms = {rows_with_a_hot_one(40, features, 0.2, d_in)}},
                                gpu);
  EXPECT_GT(compared, 300'000U);
}

TEST_F(FeatureGradientsOnGpu, are_the_cpu_s_with_many_entries_and_wide_rows) {
  expect_same({.features = 5,
               .d_in = 1025,
               .d_out = 1023,
               .count = 5,
               .terms = {rows_with_a_hot_one(300, 5, 0.7, 1)}},
              gpu);
}

TEST_F(FeatureGradientsOnGpu, add_terms_in_their_order) {
  for (const std::size_t terms : {0U, 1U, 2U, 3U}) {
    Problem p{.features = 40, .d_in = 50, .d_out = 40, .count = 40, .terms = {}};
    for (std::size_t t = 0; t < terms; ++t)
      p.terms.push_back(rows_with_a_hot_one(30, 40, t == 1 ? 0.05 : 0.3, t));
    expect_same(p, gpu);
  }
}

TEST_F(FeatureGradientsOnGpu, take_any_penalty_and_go_through_thresholds_and_gains) {
  for (const Through through : {Through::pre, Through::threshold, Through::gain})
    for (const PenaltyKind kind :
         {PenaltyKind::none, PenaltyKind::l1, PenaltyKind::tanh, PenaltyKind::rate})
      for (const bool norms : {false, true})
        for (const std::size_t terms : {1U, 2U})
          expect_same({.features = 40,
                       .d_in = 50,
                       .d_out = 40,
                       .count = 40,
                       .terms = std::vector<std::vector<EntryRow>>(
                           terms, rows_with_a_hot_one(30, 40, 0.2, terms)),
                       .through = through,
                       .penalty = kind,
                       .norms = norms,
                       .moves_decoder = through != Through::threshold},
                      gpu);
}

TEST_F(FeatureGradientsOnGpu, are_given_for_a_range_of_features) {
  for (const std::size_t first : {0U, 1U, 2U, 33U, 63U})
    for (const std::size_t count : {0U, 1U, 4U})
      expect_same({.features = 67,
                   .d_in = 20,
                   .d_out = 20,
                   .first = first,
                   .count = count,
                   .terms = {rows_with_a_hot_one(30, 67, 0.1, 4)}},
                  gpu);
}

TEST_F(FeatureGradientsOnGpu, are_zero_where_nothing_fired) {
  for (const std::size_t room : {0U, 40U}) {
    const Problem p{.features = 33,
                    .d_in = 7,
                    .d_out = 9,
                    .count = 33,
                    .terms = {std::vector<EntryRow>(10), std::vector<EntryRow>(10)},
                    .room = room};
    const std::vector<float> found = gradients_of(p, gpu);
    EXPECT_EQ(found, std::vector<float>(found.size(), 0.0F));
  }
}

struct Finished {
  std::vector<float> gradients;
  std::vector<double> panels;
};
Finished finish(std::size_t count, std::size_t d_in, std::size_t d_out, bool centred,
                const DecoderRule& decoder, Device device) {
  Stream stream(device);
  const std::size_t row = GradientRow{d_in, d_out}.size(),
                    number = (count + kPanelFeatures - 1) / kPanelFeatures;
  Tensor<float> directions = normals({count, d_out}, 2);
  for (std::size_t i = 0; decoder.non_negative && i < directions.size(); i += 3)
    directions.data()[i] = 0;
  Tensor<float> gradients = copied_to(normals({count, row}, 1), device, stream);
  const Tensor<float> W_enc = copied_to(normals({count, d_in}, 3), device, stream),
                      W_dec = copied_to(directions, device, stream);
  const std::size_t width = centred ? 1 + d_in : 1;
  Tensor<double> panels(Shape{number, width}, device);
  const Tensor<float> r_mag = copied_to(normals({count}, 4), device, stream);
  finish_gradients({.W_enc = W_enc.cview(),
                    .W_dec = W_dec.cview(),
                    .decoder = decoder,
                    .input_is_centred = centred,
                    .r_mag = d_in == 31 ? r_mag.cview() : TensorView<const float>()},
                   gradients.view(), panels.view(), stream);
  return {host_values(gradients, stream), host_values(panels, stream)};
}

TEST_F(FeatureGradientsOnGpu, are_finished_as_on_the_cpu_to_the_byte) {
  std::size_t compared = 0;
  for (const std::size_t count : {0U, 1U, 31U, 63U, 64U, 65U, 150U})
    for (const std::size_t d : {1U, 31U, 33U, 130U})
      for (const bool centred : {true, false}) {
        const std::size_t d_out = centred ? d : d + 5;
        const DecoderRule decoder{.non_negative = d == 33, .free_norm = d == 130};
        const Finished found = finish(count, d, d_out, centred, decoder, gpu),
                       expected = finish(count, d, d_out, centred, decoder, {});
        EXPECT_TRUE(same_bytes(found.gradients, expected.gradients)) << count << " of " << d;
        EXPECT_TRUE(same_bytes(found.panels, expected.panels)) << count << " of " << d;
        compared += found.gradients.size();
      }
  EXPECT_GT(compared, 100'000U);
}

struct Bias {
  std::vector<double> db_dec, scalars;
};
Bias bias(std::size_t panels, std::size_t d, bool centred, double clip, double size,
          Device device) {
  Stream stream(device);
  const CounterRng rng(Purpose::test, {panels, d});
  std::uint64_t at = 0;
  const auto drawn = [&](std::size_t count, double factor) {
    std::vector<double> out(count);
    for (double& value : out) value = factor * rng.normal(at++);
    return copied_to(out, device, stream);
  };
  const std::size_t width = centred ? 1 + d : 1;
  const Tensor<double> sums = drawn(d, 1);
  std::vector<double> parts = host_values(drawn(panels * width, size), stream);
  for (std::size_t p = 0; p < panels; ++p) parts[p * width] = std::abs(parts[p * width]);
  const Tensor<double> flat = copied_to(parts, device, stream);
  const Tensor<double> db_dec = drawn(d, 1), scalars = drawn(kStepScalars, 1);
  bias_gradient(sums.cview(), {flat.data(), Shape{panels, width}, device}, clip, db_dec.view(),
                scalars.view(), stream);
  return {host_values(db_dec, stream), host_values(scalars, stream)};
}

// The norm's squares are positive: m of them in any order are within m 2^-53 of their sum,
// relatively, so two orders within 2 m 2^-53; the root halves that and rounds once more.
TEST_F(FeatureGradientsOnGpu,
       leave_the_bias_its_own_to_the_byte_and_a_norm_within_a_sum_s_rounding) {
  for (const std::size_t panels : {0U, 1U, 63U, 64U, 65U, 200U})
    for (const std::size_t d : {1U, 31U, 32U, 33U, 1025U})
      for (const bool centred : {true, false}) {
        const double clip = d == 32 ? 0 : 0.5;
        const Bias found = bias(panels, d, centred, clip, 1, gpu),
                   expected = bias(panels, d, centred, clip, 1, {});
        EXPECT_TRUE(same_bytes(found.db_dec, expected.db_dec)) << panels << " of " << d;
        const double bound = static_cast<double>(panels + d + 2) * 0x1p-53;
        for (std::size_t i = 0; i < kStepScalars; ++i) {
          const double off = i == kNorm || i == kScale ? bound : 0;
          EXPECT_NEAR(found.scalars[i], expected.scalars[i], off * std::abs(expected.scalars[i]))
              << "scalar " << i;
        }
      }
}

TEST_F(FeatureGradientsOnGpu, refuse_the_step_where_the_norm_overflows) {
  for (const double size : {1e40, std::numeric_limits<double>::infinity()}) {
    const Bias found = bias(3, 20, true, 0, size, gpu);

    EXPECT_EQ(found.scalars[kFinite], 0);
    EXPECT_EQ(found.scalars[kScale], 0);
  }
}

std::vector<double> explained(float x_value, float weight, double finite, Device device) {
  Stream stream(device);
  Tensor<float> x = normals({70, 33}, 1), W = normals({90, 33}, 2), b = normals({90}, 3),
                b_dec = normals({33}, 4);
  x.data()[2309] = x_value;
  b.data()[5] = weight;
  std::vector<double> before(kStepScalars, 7);
  before[kFinite] = finite;
  const Tensor<double> scalars = copied_to(before, device, stream);
  explain_overflow(copied_to(x, device, stream).cview(), copied_to(W, device, stream).cview(),
                   copied_to(b, device, stream).cview(), copied_to(b_dec, device, stream).cview(),
                   scalars.view(), stream);
  return host_values(scalars, stream);
}

TEST_F(FeatureGradientsOnGpu, are_explained_by_the_largest_magnitudes_only_where_they_overflow) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float x :
       {-50.0F, 0.0F, 3e38F, kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()})
    for (const float weight : {1.0F, -80.0F, std::numeric_limits<float>::quiet_NaN()})
      for (const double finite : {0.0, 1.0}) {
        const std::vector<double> found = explained(x, weight, finite, gpu);
        EXPECT_TRUE(same_bytes(found, explained(x, weight, finite, {})));
        EXPECT_EQ(found[kLargestInput] == 7, finite == 1);
      }
}

}  // namespace
}  // namespace refract
