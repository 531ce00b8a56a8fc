#pragma once
// The losses of all variants, aloud, in fp64: what gradients are finite differences of. Selections,
// dead features, residuals behind a stop-gradient and the copies of the decoder in a gate's term
// are constants of the base point. Where the field has agreed on a straight-through estimate the
// loss is linear in the threshold about that point, with that slope.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "unit/sae/problem.hpp"

namespace refract::testing_support {

using Rows = std::vector<std::vector<double>>;

inline Rows to_rows(TensorView<const float> view) {
  Rows rows(view.axis(0));
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i].assign(view.row(i).begin(), view.row(i).end());
  return rows;
}

inline std::vector<double> to_doubles(const Tensor<float>& values) {
  return {values.span().begin(), values.span().end()};
}

// The `count` of `from` with the largest key, ties to the first.
template <typename T, typename Key>
std::vector<T> largest_of(std::vector<T> from, std::size_t count, Key&& key) {
  std::stable_sort(from.begin(), from.end(),
                   [&](const T& a, const T& b) { return key(a) > key(b); });
  from.resize(std::min(count, from.size()));
  return from;
}

class PlainLoss {
 public:
  explicit PlainLoss(const Problem& problem)
      : x(to_rows(problem.x.cview())),
        target(problem.y.size() != 0 ? to_rows(problem.y.cview()) : x),
        W_enc(to_rows(problem.state.parameters.W_enc.cview())),
        W_dec(to_rows(problem.state.parameters.W_dec.cview())),
        b_enc(to_doubles(problem.state.parameters.b_enc)),
        b_dec(to_doubles(problem.state.parameters.b_dec)),
        threshold(to_doubles(problem.state.parameters.threshold)),
        b_mag(to_doubles(problem.state.parameters.b_mag)),
        r_mag(to_doubles(problem.state.parameters.r_mag)),
        c_(problem.config),
        k_(largest_k(problem.config)),
        included_(problem.included),
        centred_(problem.y.size() == 0),
        W_dec_0_(W_dec),
        b_dec_0_(b_dec),
        threshold_0_(threshold) {
    if (c_.variant == "relu" && c_.penalty.kind == "auto") c_.penalty.kind = "l1";
    for (const auto age : problem.state.age.span()) dead_.push_back(age >= kDeadAfter);
    has_aux_ = c_.variant != "relu" && c_.variant != "jumprelu" && c_.variant != "gated" &&
               std::ranges::find(dead_, true) != dead_.end();
    for (std::size_t i = 0; i < x.size(); ++i) pre_0_.push_back(pre(i));
    choose();
    set_constants();
  }

  Rows x, target, W_enc, W_dec;
  std::vector<double> b_enc, b_dec, threshold, b_mag, r_mag;

  [[nodiscard]] double value() const {
    double rows = 0, sum = 0, aux = 0, active = 0;
    std::vector<double> rates(b_enc.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (included_[i] == 0) continue;
      ++rows;
      const Row row = row_of(i);
      sum += squared(error(i, row, b_enc.size()));
      for (const std::size_t prefix : prefixes()) sum += squared(error(i, row, prefix));
      if (c_.variant == "gated") sum += squared(gate_error(i, row));
      if (has_aux_) aux += squared(aux_error(i, row));
      for (std::size_t f = 0; f < b_enc.size(); ++f) {
        const double size = c_.variant == "gated"     ? std::max(0.0, row.pre[f])
                            : c_.variant == "abstopk" ? std::abs(row.f[f])
                                                      : row.f[f];
        if (size == 0 && !near(i, f)) continue;
        sum += c_.penalty.coefficient * penalty(size, f);
        rates[f] += std::tanh(c_.penalty.steepness * size);
        active += active_part(i, f);
      }
    }
    double loss = sum / rows;
    if (has_aux_) loss += c_.aux.coefficient * aux / rows / variance_0_;
    if (c_.penalty.kind == "kl")
      for (const double rate : rates) loss += c_.penalty.coefficient * divergence(rate / rows);
    if (c_.penalty.kind == "l0") {
      const double l0 = active / rows;
      loss += c_.penalty.coefficient *
              (c_.penalty.target > 0 ? std::pow(l0 / c_.penalty.target - 1, 2) : l0);
    }
    return loss;
  }

  [[nodiscard]] double derivative(double& at) {
    const double step = 1e-6, before = at;
    at = before + step;
    const double up = value();
    at = before - step;
    const double down = value();
    at = before;
    return (up - down) / (2 * step);
  }

 private:
  struct Row {
    std::vector<double> pre, f;
  };

  [[nodiscard]] std::vector<double> pre(std::size_t i) const {
    std::vector<double> out(b_enc);
    for (std::size_t f = 0; f < out.size(); ++f)
      for (std::size_t d = 0; d < x[i].size(); ++d)
        out[f] += (x[i][d] - (centred_ ? b_dec[d] : 0)) * W_enc[f][d];
    return out;
  }

  void choose() {
    std::vector<std::pair<std::size_t, std::size_t>> all;
    std::size_t rows = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::vector<double>& p = pre_0_[i];
      if (included_[i] == 0) continue;
      ++rows;
      std::vector<std::size_t> features(p.size());
      std::iota(features.begin(), features.end(), std::size_t{0});
      if (c_.variant == "topk")
        features = largest_of(features, k_, [&](std::size_t f) { return p[f]; });
      if (c_.variant == "abstopk")
        features = largest_of(features, k_, [&](std::size_t f) { return std::abs(p[f]); });
      for (const std::size_t f : features) {
        const double floor = c_.variant == "jumprelu" ? threshold_0_[f] : 0;
        if (c_.variant == "abstopk" || p[f] > floor) all.emplace_back(i, f);
      }
    }
    if (c_.variant == "batchtopk" || c_.variant == "matryoshka")
      all = largest_of(all, k_ * rows, [&](const auto& at) { return pre_0_[at.first][at.second]; });
    chosen_ = {all.begin(), all.end()};
  }

  // Within the window that moves thresholds.
  [[nodiscard]] bool near(std::size_t i, std::size_t f) const {
    return c_.variant == "jumprelu" &&
           std::abs(pre_0_[i][f] - threshold_0_[f]) < c_.jumprelu.bandwidth / 2;
  }
  // 1 where it counts, with the estimate's slope.
  [[nodiscard]] double active_part(std::size_t i, std::size_t f) const {
    const double one = chosen_.contains({i, f}) ? 1 : 0;
    return near(i, f) ? one - (threshold[f] - threshold_0_[f]) / c_.jumprelu.bandwidth : one;
  }

  [[nodiscard]] Row row_of(std::size_t i) const {
    Row row{pre(i), std::vector<double>(b_enc.size())};
    for (std::size_t f = 0; f < b_enc.size(); ++f) {
      if (chosen_.contains({i, f})) {
        row.f[f] = row.pre[f];
        if (c_.variant == "gated")
          row.f[f] = std::max(0.0, std::exp(r_mag[f]) * (row.pre[f] - b_enc[f]) + b_mag[f]);
      }
      if (near(i, f))
        row.f[f] -= threshold_0_[f] / c_.jumprelu.bandwidth * (threshold[f] - threshold_0_[f]);
    }
    return row;
  }

  [[nodiscard]] std::vector<std::size_t> prefixes() const {
    if (c_.variant != "matryoshka") return {};
    std::vector<std::size_t> sizes;
    for (const std::string& text : c_.prefixes) sizes.push_back(std::stoul(text));
    return sizes;
  }

  [[nodiscard]] std::vector<double> error(std::size_t i, const Row& row, std::size_t upto) const {
    std::vector<double> e(target[i]);
    for (std::size_t d = 0; d < e.size(); ++d) e[d] -= b_dec[d];
    for (std::size_t f = 0; f < upto; ++f)
      for (std::size_t d = 0; d < e.size(); ++d) e[d] -= row.f[f] * W_dec[f][d];
    return e;
  }
  [[nodiscard]] std::vector<double> gate_error(std::size_t i, const Row& row) const {
    std::vector<double> e(target[i]);
    for (std::size_t d = 0; d < e.size(); ++d) e[d] -= b_dec_0_[d];
    // The target of the reconstruction moves with b_dec as the input does; x itself does not.
    for (std::size_t f = 0; f < b_enc.size(); ++f)
      for (std::size_t d = 0; d < e.size(); ++d) e[d] -= std::max(0.0, row.pre[f]) * W_dec_0_[f][d];
    return e;
  }
  [[nodiscard]] std::vector<double> aux_error(std::size_t i, const Row& row) const {
    std::vector<std::size_t> from;
    for (std::size_t f = 0; f < b_enc.size(); ++f)
      if (dead_[f]) from.push_back(f);
    std::vector<double> r(error_0_[i]);
    for (double& value : r) value = -value;
    for (const std::size_t f :
         largest_of(from, x[0].size() / 2, [&](std::size_t g) { return row.pre[g]; }))
      for (std::size_t d = 0; d < r.size(); ++d) r[d] += row.pre[f] * W_dec[f][d];
    return r;
  }

  void set_constants() {
    double rows = 0;
    std::vector<double> mean(b_dec.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      error_0_.push_back(error(i, row_of(i), b_enc.size()));
      if (included_[i] == 0) continue;
      ++rows;
      for (std::size_t d = 0; d < mean.size(); ++d) mean[d] += error_0_[i][d];
    }
    for (std::size_t i = 0; i < x.size(); ++i)
      if (included_[i] != 0)
        for (std::size_t d = 0; d < mean.size(); ++d)
          variance_0_ += std::pow(error_0_[i][d] - mean[d] / rows, 2) / rows;
  }

  [[nodiscard]] double penalty(double size, std::size_t f) const {
    const double norm = c_.penalty.weighted ? std::sqrt(squared(W_dec[f])) : 1;
    // A unit row stays one, so that its norm is no variable.
    const double by = c_.decoder_norm == "free" ? norm : 1;
    if (c_.penalty.kind == "l1") return by * size;
    if (c_.penalty.kind == "tanh") return std::tanh(c_.penalty.steepness * by * size);
    return 0;
  }
  [[nodiscard]] double divergence(double rate) const {
    const double rho = c_.penalty.target, r = std::clamp(rate, 1e-6, 1 - 1e-6);
    return rho * std::log(rho / r) + (1 - rho) * std::log((1 - rho) / (1 - r));
  }
  static double squared(const std::vector<double>& values) {
    return std::inner_product(values.begin(), values.end(), values.begin(), 0.0);
  }

  SaeConfig c_;
  std::size_t k_;  // of the first step
  std::vector<std::uint8_t> included_;
  bool centred_, has_aux_ = false;
  std::vector<bool> dead_;
  Rows W_dec_0_;
  std::vector<double> b_dec_0_, threshold_0_;
  Rows pre_0_, error_0_;
  double variance_0_ = 0;
  std::set<std::pair<std::size_t, std::size_t>> chosen_;
};

}  // namespace refract::testing_support
