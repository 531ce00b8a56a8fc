// The folds in fp64, against inference written out by the roles of the tensors.
#include "refract/sae/fold.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "refract/base/random.hpp"

namespace refract {
namespace {

constexpr std::size_t kIn = 7, kFeatures = 11, kRows = 40, kActive = 3;

enum class Kind { relu, jumprelu, gated, topk };
constexpr Kind kKinds[] = {Kind::relu, Kind::jumprelu, Kind::gated, Kind::topk};

std::vector<double> drawn(std::size_t n, std::uint64_t seed, double scale = 1) {
  std::vector<double> values(n);
  const CounterRng rng(Purpose::test, {seed, n});
  for (std::size_t i = 0; i < n; ++i) values[i] = scale * rng.normal(i);
  return values;
}

// By role; decoder rows of norm 1, as they are learned.
struct Sae {
  Kind kind;
  bool centred = true;
  std::size_t d_out = kIn;
  std::map<TensorRole, std::vector<double>> tensors{};
};
Sae sae_of(Kind kind, bool centred, std::size_t d_out) {
  Sae sae{kind, centred, d_out};
  auto& t = sae.tensors;
  t[TensorRole::encoder] = drawn(kFeatures * kIn, 1);
  t[TensorRole::encoder_bias] = drawn(kFeatures, 2, 0.5);
  t[TensorRole::decoder] = drawn(kFeatures * d_out, 3);
  t[TensorRole::decoder_bias] = drawn(d_out, 4);
  for (std::size_t f = 0; f < kFeatures; ++f) {
    const auto row = std::span(t[TensorRole::decoder]).subspan(f * d_out, d_out);
    double squares = 0;
    for (const double value : row) squares += value * value;
    for (double& value : row) value /= std::sqrt(squares);
  }
  if (kind == Kind::jumprelu) {
    t[TensorRole::threshold] = drawn(kFeatures, 5, 0.5);
    for (double& value : t[TensorRole::threshold]) value = std::abs(value);
  }
  if (kind == Kind::gated) {
    t[TensorRole::magnitude_bias] = drawn(kFeatures, 6, 0.5);
    t[TensorRole::log_gain] = drawn(kFeatures, 7, 0.5);
  }
  return sae;
}

// x_hat and activations of a row that the SAE reads as it is.
struct Made {
  std::vector<double> x_hat, acts;
};
Made inference(const Sae& sae, std::span<const double> x) {
  const auto at = [&](TensorRole role, std::size_t i) { return sae.tensors.at(role)[i]; };
  Made out{sae.tensors.at(TensorRole::decoder_bias), std::vector<double>(kFeatures)};
  std::vector<double> pre(kFeatures), product(kFeatures);
  for (std::size_t f = 0; f < kFeatures; ++f) {
    for (std::size_t d = 0; d < kIn; ++d)
      product[f] += at(TensorRole::encoder, f * kIn + d) *
                    (x[d] - (sae.centred ? at(TensorRole::decoder_bias, d) : 0));
    pre[f] = product[f] + at(TensorRole::encoder_bias, f);
  }
  std::vector<double> ordered = pre;
  std::ranges::sort(ordered, std::greater());
  for (std::size_t f = 0; f < kFeatures; ++f) {
    double bar = 0;
    if (sae.kind == Kind::jumprelu) bar = at(TensorRole::threshold, f);
    if (sae.kind == Kind::topk) bar = std::max(0.0, ordered[kActive]);
    if (!(pre[f] > bar)) continue;
    out.acts[f] = pre[f];
    if (sae.kind == Kind::gated)
      out.acts[f] = std::max(0.0, std::exp(at(TensorRole::log_gain, f)) * product[f] +
                                      at(TensorRole::magnitude_bias, f));
    for (std::size_t d = 0; d < sae.d_out; ++d)
      out.x_hat[d] += out.acts[f] * at(TensorRole::decoder, f * sae.d_out + d);
  }
  return out;
}

// A symmetric map of moderate condition, its inverse and an offset.
struct Space {
  Tensor<float> W, inverse;
  std::vector<float> offset;
  double factor;

  Space(std::size_t d, std::uint64_t seed, double by)
      : W(Shape{d, d}), inverse(Shape{d, d}), factor(by) {
    for (const double value : drawn(d, seed + 1, 2)) offset.push_back(static_cast<float>(value));
    // I + a a^T, whose inverse is I - a a^T / (1 + a.a)
    const std::vector<double> a = drawn(d, seed);
    double square = 0;
    for (const double value : a) square += value * value;
    for (std::size_t i = 0; i < d; ++i)
      for (std::size_t j = 0; j < d; ++j) {
        W.row(i)[j] = static_cast<float>((i == j ? 1 : 0) + a[i] * a[j]);
        inverse.row(i)[j] = static_cast<float>((i == j ? 1 : 0) - a[i] * a[j] / (1 + square));
      }
  }
  [[nodiscard]] AffineMap map() const { return {factor, W.cview(), inverse.cview(), offset}; }
  [[nodiscard]] std::vector<double> to(std::span<const double> x) const {
    std::vector<double> u(offset.size());
    for (std::size_t i = 0; i < u.size(); ++i)
      for (std::size_t j = 0; j < u.size(); ++j)
        u[i] += factor * double(W.row(i)[j]) * (x[j] - double(offset[j]));
    return u;
  }
  [[nodiscard]] std::vector<double> back(std::span<const double> u) const {
    std::vector<double> x(offset.begin(), offset.end());
    for (std::size_t i = 0; i < x.size(); ++i)
      for (std::size_t j = 0; j < x.size(); ++j) x[i] += double(inverse.row(i)[j]) * u[j] / factor;
    return x;
  }
};

Sae folded(const Sae& sae, const Folds& folds) {
  std::vector<RoleRows<double>> tensors;
  for (const auto& [role, values] : sae.tensors) tensors.push_back({role, values});
  const std::vector<FeatureFold> of = feature_folds<double>(folds, sae.centred, tensors, kFeatures);
  Sae out = sae;
  for (const RoleRows<double>& rows : tensors)
    fold_rows<double>(folds, sae.kind == Kind::gated,
                      has_feature_axis(rows.role) ? std::span(of) : std::span<const FeatureFold>(),
                      rows, out.tensors[rows.role]);
  return out;
}

double worst_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double worst = 0, largest = 1e-300;
  for (std::size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::abs(a[i] - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  return worst / largest;
}

struct Case {
  Kind kind;
  bool centred;
  std::size_t d_out;
};
std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Kind kind : kKinds) {
    all.push_back({kind, true, kIn});
    all.push_back({kind, false, 5});
  }
  return all;
}

TEST(Fold, leaves_inference_as_it_is_for_every_kind_of_sae) {
  std::size_t fired = 0;
  for (const Case& c : cases()) {
    const Sae sae = sae_of(c.kind, c.centred, c.d_out);
    // Of an SAE what it reads and what it makes are one place.
    const Space input(kIn, 20, 0.4), target(c.d_out, c.centred ? 20 : 30, c.centred ? 0.4 : 1.7);
    const Sae raw = folded(
        sae, {.input = input.map(), .target = target.map(), .unit_rows = c.kind != Kind::topk});
    for (std::size_t row = 0; row < kRows; ++row) {
      const std::vector<double> x = drawn(kIn, 100 + row, 3);

      const Made expected = inference(sae, input.to(x)), found = inference(raw, x);

      EXPECT_LT(worst_difference(found.x_hat, target.back(expected.x_hat)), 1e-6);
      for (std::size_t f = 0; f < kFeatures; ++f) {
        EXPECT_EQ(found.acts[f] > 0, expected.acts[f] > 0) << row << ' ' << f;
        fired += found.acts[f] > 0;
      }
    }
  }
  EXPECT_GT(fired, 8U * kRows);
}

// One at a time, each on what the one before has left: unit rows, once asked for, stay asked for.
TEST(Fold, gives_the_same_weights_in_any_order) {
  enum Step { of_input, of_target, of_rows };
  std::size_t compared = 0;
  for (const Case& c : cases()) {
    const Sae sae = sae_of(c.kind, c.centred, c.d_out);
    const Space input(kIn, 20, 0.4), target(c.d_out, c.centred ? 20 : 30, c.centred ? 0.4 : 1.7);
    const bool unit = c.kind != Kind::topk;
    const Sae at_once =
        folded(sae, {.input = input.map(), .target = target.map(), .unit_rows = unit});
    std::vector<Step> order{of_input, of_target, of_rows};
    if (!unit) order.pop_back();
    do {
      Sae made = sae;
      bool rows = false;
      for (const Step step : order) {
        rows = rows || step == of_rows;
        made = folded(made, {.input = step == of_input ? input.map() : AffineMap{},
                             .target = step == of_target ? target.map() : AffineMap{},
                             .unit_rows = rows});
      }
      for (const auto& [role, values] : made.tensors) {
        EXPECT_LT(worst_difference(values, at_once.tensors.at(role)), 1e-6)
            << static_cast<int>(c.kind) << ' ' << static_cast<int>(role);
        compared += values.size();
      }
    } while (std::ranges::next_permutation(order).found);
  }
  EXPECT_GT(compared, 1000U);
}

TEST(Fold, gives_decoder_rows_a_norm_of_1_and_activations_what_that_takes) {
  Sae sae = sae_of(Kind::jumprelu, true, kIn);
  for (double& value : sae.tensors[TensorRole::decoder]) value *= 2;
  const Sae unit = folded(sae, {.unit_rows = true});

  for (std::size_t f = 0; f < kFeatures; ++f) {
    EXPECT_NEAR(unit.tensors.at(TensorRole::threshold)[f],
                2 * sae.tensors.at(TensorRole::threshold)[f], 1e-12);
    EXPECT_NEAR(unit.tensors.at(TensorRole::decoder)[f * kIn],
                sae.tensors.at(TensorRole::decoder)[f * kIn] / 2, 1e-12);
  }
}

// The gate decides on W_enc u + b_enc, whatever units activations are in.
TEST(Fold, of_a_gated_sae_leaves_the_gate_and_scales_the_magnitude) {
  const Sae sae = sae_of(Kind::gated, true, kIn);
  const Sae raw = folded(sae, {.target = {.factor = 0.25}});

  EXPECT_EQ(raw.tensors.at(TensorRole::encoder_bias), sae.tensors.at(TensorRole::encoder_bias));
  EXPECT_EQ(raw.tensors.at(TensorRole::encoder), sae.tensors.at(TensorRole::encoder));
  for (std::size_t f = 0; f < kFeatures; ++f) {
    EXPECT_NEAR(raw.tensors.at(TensorRole::log_gain)[f],
                sae.tensors.at(TensorRole::log_gain)[f] + std::log(4.0), 1e-12);
    EXPECT_NEAR(raw.tensors.at(TensorRole::magnitude_bias)[f],
                4 * sae.tensors.at(TensorRole::magnitude_bias)[f], 1e-12);
  }
}

}  // namespace
}  // namespace refract
