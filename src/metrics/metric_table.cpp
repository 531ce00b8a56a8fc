#include "refract/metrics/metric_table.hpp"

namespace refract {
namespace {

double squared_error(const MetricTotals& t) { return t.squared_error / t.rows; }
double mse(const MetricTotals& t) { return squared_error(t) / static_cast<double>(t.d_in); }
double variance(const MetricTotals& t) { return t.squared_norm - t.squared_sum_x / t.rows; }
double fvu(const MetricTotals& t) { return t.squared_error / variance(t); }
double r2(const MetricTotals& t) { return 1 - fvu(t); }
double explained_variance(const MetricTotals& t) {
  return 1 - (t.squared_error - t.squared_sum_e / t.rows) / variance(t);
}
double l0(const MetricTotals& t) { return t.active / t.rows; }
double density(const MetricTotals& t) { return l0(t) / static_cast<double>(t.d_sae); }
double dead_rate(const MetricTotals& t) { return t.dead / static_cast<double>(t.d_sae); }

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
