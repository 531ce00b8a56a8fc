#pragma once
// Every reconstruction metric, one row each.
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace refract {

// Sums over a sample of documents.
struct MetricTotals {
  std::size_t d_in = 0, d_sae = 0;
  double rows = 0, squared_error = 0, squared_norm = 0, active = 0;
  double squared_sum_x = 0, squared_sum_e = 0;  // |sum of x|^2, |sum of e|^2
  double dead = 0;                              // features without a firing
};

struct MetricRow {
  std::string_view name, meaning;
  // Nothing where the metric has no meaning: rows that do not vary have no variance to explain.
  std::optional<double> (*value)(const MetricTotals&);
  bool needs_features;
  // A resample holds only two thirds of the documents, so a count of what was never seen is biased
  // upwards in it: such a metric's interval is reflected at the value (basic bootstrap) and cut at
  // 0.
  bool counts_the_unseen;
};

[[nodiscard]] std::span<const MetricRow> metric_table();

}  // namespace refract
