#pragma once
// How well and how sparsely x is reconstructed: every metric of the table (metric_table.hpp) with
// its interval by bootstrap over documents, since rows of one document are not independent.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "refract/metrics/document_sums.hpp"
#include "refract/metrics/metric_table.hpp"

namespace refract {

struct MetricValue {
  std::string name;
  double value = 0, low = 0, high = 0;  // 95 % interval over documents
};
// A value with the interval of its replicates; those in which the metric has no meaning (NaN) are
// left out. NumericalError naming `of` and the metric unless the value is finite and so is a
// replicate.
[[nodiscard]] MetricValue metric_value(std::string_view of, std::string_view name,
                                       std::optional<double> value,
                                       std::span<const double> replicates);

struct MetricReport {
  std::uint64_t rows = 0, documents = 0;
  std::vector<MetricValue> values;
  [[nodiscard]] const MetricValue* find(std::string_view name) const;  // null: was not measured
  [[nodiscard]] const MetricValue& of(
      std::string_view name) const;  // SystemError when there is none
};

struct ReplicateRange {
  std::size_t first = 0, count = 1000;
};
// The metrics of bootstrap samples [first, first + count), [count, metrics of the table]; NaN where
// one has no meaning. A sample is a function of (seed, its number), so that several processes may
// make some each.
[[nodiscard]] std::vector<double> replicate_metrics(const DocumentTable& table, std::uint64_t seed,
                                                    ReplicateRange range);
// In the order of the metric table; replicates [any, metrics]. A metric is left out
// where it has no meaning (of features where none fires) or needs more rows than there are.
// NumericalError naming `of`
// ("SAE 'small'") when no row took part, or a metric is not finite.
[[nodiscard]] MetricReport metric_report(const DocumentTable& table, std::string_view of,
                                         std::span<const double> replicates);

// How often features fire, for a plot: counts of features by log10 of the share of rows in which
// they fire, in bins of a quarter of a decade from 1e-8 to 1; those that never fire by themselves.
struct DensityHistogram {
  static constexpr int kBinsPerDecade = 4, kDecades = 8;
  std::vector<std::uint64_t> features;  // [32]
  std::uint64_t never = 0;
};
[[nodiscard]] DensityHistogram density_histogram(const DocumentTable& table);

}  // namespace refract
