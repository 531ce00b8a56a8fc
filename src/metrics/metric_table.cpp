#include "refract/metrics/metric_table.hpp"

namespace refract {
namespace {

using Value = std::optional<double>;

double per_row(double sum, const MetricTotals& t) { return sum / t.rows; }
// What a difference of two sums leaves of rows that are all the same is rounding.
Value share_of_variance(double sum, const MetricTotals& t) {
  const double variance = t.squared_norm - t.squared_sum_x / t.rows;
  return variance > 1e-12 * t.squared_norm ? Value(sum / variance) : std::nullopt;
}
Value from_one(Value share) { return share ? Value(1 - *share) : std::nullopt; }

Value squared_error(const MetricTotals& t) { return per_row(t.squared_error, t); }
Value mse(const MetricTotals& t) {
  return per_row(t.squared_error, t) / static_cast<double>(t.d_in);
}
Value fvu(const MetricTotals& t) { return share_of_variance(t.squared_error, t); }
Value r2(const MetricTotals& t) { return from_one(fvu(t)); }
Value explained_variance(const MetricTotals& t) {
  return from_one(share_of_variance(t.squared_error - t.squared_sum_e / t.rows, t));
}
Value l0(const MetricTotals& t) { return per_row(t.active, t); }
Value density(const MetricTotals& t) { return per_row(t.active, t) / static_cast<double>(t.d_sae); }
Value dead_rate(const MetricTotals& t) { return t.dead / static_cast<double>(t.d_sae); }

constexpr MetricRow kMetrics[] = {
    {"mse", "mean over rows and dimensions of the squared error", mse, false, false},
    {"squared_error", "mean over rows of the sum over dimensions of the squared error",
     squared_error, false, false},
    {"r2", "1 - FVU, against the mean of these rows", r2, false, false},
    {"fvu", "fraction of variance unexplained", fvu, false, false},
    {"explained_variance", "as r2, but the mean error is forgiven", explained_variance, false,
     false},
    {"l0", "mean active features per row", l0, true, false},
    {"density", "l0 / d_sae", density, true, false},
    {"dead_rate", "share of features that fire on none of these rows", dead_rate, true, true},
};

}  // namespace

std::span<const MetricRow> metric_table() { return kMetrics; }

}  // namespace refract
