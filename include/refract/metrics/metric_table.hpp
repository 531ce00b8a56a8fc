#pragma once
// Every metric of reconstruction and sparsity, one row each: a function of the sums over a sample
// of documents. docs/formats/evaluation.md defines each; what of it is good is said where its rule
// is (configs/advice.yaml).
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "refract/metrics/concentration.hpp"
#include "refract/metrics/document_sums.hpp"

namespace refract {

// Sums over a sample of documents, each as often as it was drawn.
struct MetricTotals {
  std::size_t d_in = 0, d_sae = 0;  // d_sae 0: nothing is known of features
  double rows = 0;
  RowSums sums;
  std::vector<double> x, e, xx, ee;                             // [D] as DocumentSums
  std::vector<std::size_t> strongest;                           // the highest-variance dimensions
  std::vector<std::pair<std::uint32_t, std::uint64_t>> active;  // active features, rows; ascending
  std::vector<std::uint64_t> fired;  // [F] rows in which a feature fires, ascending
  Concentration firings, mass;       // of these, and of the sums of absolute values
};

inline constexpr std::size_t kStrongest = 5;

struct MetricRow {
  std::string_view name;
  // Nothing where the metric has no meaning: a cosine of rows that are all zero.
  std::optional<double> (*value)(const MetricTotals&);
  bool needs_features = false;
  // Without a meaning for it there is nothing to evaluate: rows that do not vary have no variance
  // to explain. Others are then left out.
  bool required = false;
  // A resample holds only two thirds of the documents, so a count of what was never seen is biased
  // upwards in it, at times all of them above the value: such a share's interval keeps its width
  // and is moved so that the resamples' mean lies at the value, within 0 and 1.
  bool counts_the_unseen = false;
  // Rows below which it cannot be told (a rate of 1e-5 among 1,000 rows): then it is left out.
  double least_rows = 0;
};

[[nodiscard]] std::span<const MetricRow> metric_table();

}  // namespace refract
