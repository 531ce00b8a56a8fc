#include "refract/metrics/metric_table.hpp"

#include <algorithm>
#include <cmath>

namespace refract {
namespace {

using Value = std::optional<double>;
using S = RowSums;

double per_row(double sum, const MetricTotals& t) { return sum / t.rows; }
Value ratio(double a, double b) { return b != 0 ? Value(a / b) : std::nullopt; }
Value from_one(Value share) { return share ? Value(1 - *share) : std::nullopt; }

// Sum of (value - mean)^2 from sums of the value and of its square. What a difference of two sums
// leaves of rows that are all the same is rounding: nothing then.
Value scatter(double sum, double squares, double rows) {
  const double left = squares - sum * sum / rows;
  return left > 1e-12 * squares ? Value(left) : std::nullopt;
}
double squared(const std::vector<double>& sums) {
  double total = 0;
  for (const double value : sums) total += value * value;
  return total;
}
// Of x about the mean of these rows, over all dimensions.
Value variance(const MetricTotals& t) {
  double squares = 0;
  for (const double value : t.xx) squares += value;
  const double left = squares - squared(t.x) / t.rows;
  return left > 1e-12 * squares ? Value(left) : std::nullopt;
}
Value share_of_variance(double sum, const MetricTotals& t) {
  const Value all = variance(t);
  return all ? Value(sum / *all) : std::nullopt;
}

Value squared_error(const MetricTotals& t) { return per_row(t.sums[S::squared_error], t); }
Value mse(const MetricTotals& t) {
  return per_row(t.sums[S::squared_error], t) / static_cast<double>(t.d_in);
}
Value fvu(const MetricTotals& t) { return share_of_variance(t.sums[S::squared_error], t); }
Value r2(const MetricTotals& t) { return from_one(fvu(t)); }
Value explained_variance(const MetricTotals& t) {
  return from_one(share_of_variance(t.sums[S::squared_error] - squared(t.e) / t.rows, t));
}
Value r2_per_token(const MetricTotals& t) {
  return ratio(t.sums[S::explained], t.sums[S::with_reference]);
}
// The mean over dimensions that vary.
Value r2_uniform(const MetricTotals& t) {
  double sum = 0, dimensions = 0;
  for (std::size_t d = 0; d < t.d_in; ++d)
    if (const Value of = scatter(t.x[d], t.xx[d], t.rows)) {
      sum += 1 - t.ee[d] / *of;
      ++dimensions;
    }
  return ratio(sum, dimensions);
}
Value r2_about_zero(const MetricTotals& t) {
  return from_one(ratio(t.sums[S::squared_error], t.sums[S::squared_norm]));
}
Value r2_without_top5(const MetricTotals& t) {
  double error = 0, squares = 0, left = 0;
  for (std::size_t d = 0; d < t.d_in; ++d) {
    if (std::ranges::find(t.strongest, d) != t.strongest.end()) continue;
    error += t.ee[d];
    squares += t.xx[d];
    left += t.xx[d] - t.x[d] * t.x[d] / t.rows;
  }
  return left > 1e-12 * squares ? Value(1 - error / left) : std::nullopt;
}
Value norm(const MetricTotals& t) { return per_row(t.sums[S::norm], t); }
Value norm_hat(const MetricTotals& t) { return per_row(t.sums[S::norm_hat], t); }
Value norm_ratio(const MetricTotals& t) { return ratio(t.sums[S::norm_ratio], t.sums[S::sized]); }
Value reconstruction_bias(const MetricTotals& t) {
  return ratio(t.sums[S::squared_hat], t.sums[S::product]);
}
Value cosine(const MetricTotals& t) { return ratio(t.sums[S::cosine], t.sums[S::sized]); }

Value l0(const MetricTotals& t) { return per_row(t.sums[S::active], t); }
// The smallest number of active features that at least this share of the rows does not exceed.
template <int percent>
Value l0_percentile(const MetricTotals& t) {
  double below = 0;
  for (const auto& [active, rows] : t.active) {
    below += static_cast<double>(rows);
    if (100 * below >= percent * t.rows) return static_cast<double>(active);
  }
  return std::nullopt;
}
Value density(const MetricTotals& t) { return *l0(t) / static_cast<double>(t.d_sae); }
Value max_density(const MetricTotals& t) { return static_cast<double>(t.fired.back()) / t.rows; }
// Share of features that fire in less than this share of the rows.
double share_below(double rate, const MetricTotals& t) {
  const auto last = std::ranges::lower_bound(
      t.fired, rate * t.rows, {}, [](std::uint64_t fired) { return static_cast<double>(fired); });
  return static_cast<double>(last - t.fired.begin()) / static_cast<double>(t.d_sae);
}
template <int exponent>
Value rare(const MetricTotals& t) {
  return share_below(std::pow(10.0, -exponent), t);
}
Value dead_rate(const MetricTotals& t) { return t.firings.silent_share(); }
Value gini(const MetricTotals& t) { return t.firings.gini(); }
Value gini_alive(const MetricTotals& t) { return t.firings.gini_alive(); }
Value gini_mass(const MetricTotals& t) { return t.mass.gini(); }

constexpr MetricRow kMetrics[] = {
    {.name = "mse", .value = mse, .required = true},
    {.name = "squared_error", .value = squared_error, .required = true},
    {.name = "r2", .value = r2, .required = true},
    {.name = "fvu", .value = fvu, .required = true},
    {.name = "explained_variance", .value = explained_variance, .required = true},
    {.name = "r2_per_token", .value = r2_per_token},
    {.name = "r2_uniform", .value = r2_uniform},
    {.name = "r2_about_zero", .value = r2_about_zero},
    {.name = "r2_without_top5", .value = r2_without_top5},
    {.name = "norm", .value = norm},
    {.name = "norm_hat", .value = norm_hat},
    {.name = "norm_ratio", .value = norm_ratio},
    {.name = "reconstruction_bias", .value = reconstruction_bias},
    {.name = "cosine", .value = cosine},
    {.name = "l0", .value = l0, .needs_features = true},
    {.name = "l0_p05", .value = l0_percentile<5>, .needs_features = true},
    {.name = "l0_p50", .value = l0_percentile<50>, .needs_features = true},
    {.name = "l0_p95", .value = l0_percentile<95>, .needs_features = true},
    {.name = "density", .value = density, .needs_features = true},
    {.name = "max_density", .value = max_density, .needs_features = true},
    {.name = "dead_rate", .value = dead_rate, .needs_features = true, .counts_the_unseen = true},
    {.name = "rare_1e4",
     .value = rare<4>,
     .needs_features = true,
     .counts_the_unseen = true,
     .least_rows = 3e4},
    {.name = "rare_1e5",
     .value = rare<5>,
     .needs_features = true,
     .counts_the_unseen = true,
     .least_rows = 3e5},
    {.name = "rare_1e6",
     .value = rare<6>,
     .needs_features = true,
     .counts_the_unseen = true,
     .least_rows = 3e6},
    {.name = "rare_1e7",
     .value = rare<7>,
     .needs_features = true,
     .counts_the_unseen = true,
     .least_rows = 3e7},
    {.name = "gini", .value = gini, .needs_features = true, .counts_the_unseen = true},
    {.name = "gini_alive", .value = gini_alive, .needs_features = true},
    {.name = "gini_mass", .value = gini_mass, .needs_features = true, .counts_the_unseen = true},
};

}  // namespace

std::span<const MetricRow> metric_table() { return kMetrics; }

}  // namespace refract
