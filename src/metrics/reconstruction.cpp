#include "refract/metrics/reconstruction.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/metrics/bootstrap.hpp"

namespace refract {
namespace {

using Documents = std::vector<const DocumentSums*>;

Documents documents_of(const DocumentTable& table) {
  Documents documents;
  for (const auto& [id, sums] : table.documents()) documents.push_back(&sums);
  return documents;
}

void add(std::vector<double>& sum, const std::vector<double>& values, double times) {
  for (std::size_t d = 0; d < sum.size(); ++d) sum[d] += times * values[d];
}

// Documents in order of their id, each drawn counts[i] times (empty: once).
MetricTotals totals_of(const Documents& documents, std::span<const std::uint32_t> counts,
                       const DocumentTable& table) {
  MetricTotals totals;
  totals.d_in = table.d_in();
  totals.d_sae = table.d_sae();
  for (auto* columns : {&totals.x, &totals.e, &totals.xx, &totals.ee})
    columns->resize(table.d_in(), 0.0);
  totals.fired.resize(table.d_sae(), 0);
  std::vector<double> mass(table.d_sae(), 0.0);
  std::map<std::uint32_t, std::uint64_t> active;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    if (!counts.empty() && counts[i] == 0) continue;
    const std::uint64_t drawn = counts.empty() ? 1 : counts[i];
    const auto times = static_cast<double>(drawn);
    const DocumentSums& document = *documents[i];
    totals.rows += times * static_cast<double>(document.rows);
    for (std::size_t s = 0; s < RowSums::count; ++s)
      totals.sums.of[s] += times * document.sums.of[s];
    add(totals.x, document.x, times);
    add(totals.e, document.e, times);
    add(totals.xx, document.xx, times);
    add(totals.ee, document.ee, times);
    for (const ActiveCount& a : document.active) active[a.active] += drawn * a.rows;
    for (const FeatureSum& f : document.features) {
      totals.fired[f.feature] += drawn * f.rows;
      mass[f.feature] += times * f.mass;
    }
  }
  totals.active.assign(active.begin(), active.end());
  std::ranges::sort(totals.fired);
  totals.firings = Concentration(totals.fired);
  totals.mass = Concentration(mass);
  return totals;
}

// The dimensions of highest variance in the whole sample; of equal ones the lower.
std::vector<std::size_t> strongest_dimensions(const MetricTotals& totals) {
  std::vector<double> variance(totals.d_in);
  for (std::size_t d = 0; d < totals.d_in; ++d)
    variance[d] = totals.xx[d] - totals.x[d] * totals.x[d] / totals.rows;
  std::vector<std::size_t> order(totals.d_in);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::ranges::greater(),
                           [&](std::size_t d) { return variance[d]; });
  // Of fewer dimensions something must be left to explain.
  order.resize(std::min(kStrongest, (totals.d_in - 1) / 2));
  return order;
}

double mean_of_finite(std::span<const double> values) {
  double sum = 0, count = 0;
  for (const double value : values)
    if (std::isfinite(value)) {
      sum += value;
      ++count;
    }
  return sum / count;
}

bool applies(const MetricRow& metric, const DocumentTable& table) {
  return !metric.needs_features || table.d_sae() != 0;
}

}  // namespace

MetricValue metric_value(std::string_view of, std::string_view name, std::optional<double> value,
                         std::span<const double> replicates) {
  if (!value)
    throw NumericalError(
        "{}: {} has no meaning on these held-out rows: they vary by less than a millionth of their "
        "size. Take another hook point, or raise heldout.rows, in a new run folder.",
        of, name);
  if (!std::isfinite(*value))
    throw NumericalError(
        "{}: {} is {} on the held-out rows, which are finite: its reconstruction of them is not. A "
        "loss that grows in metrics.jsonl says that training diverged: lower optimizer.lr in a new "
        "run folder.",
        of, name, *value);
  std::vector<double> finite;
  for (const double replicate : replicates)
    if (std::isfinite(replicate)) finite.push_back(replicate);
  if (finite.empty())
    throw NumericalError(
        "{}: no resample of the held-out documents has a {}: there are too few. Raise heldout.rows "
        "or heldout.share in a new run folder.",
        of, name);
  const Interval interval = percentile_interval(std::move(finite));
  return {std::string(name), *value, interval.low, interval.high};
}

const MetricValue* MetricReport::find(std::string_view name) const {
  const auto found = std::ranges::find(values, name, &MetricValue::name);
  return found == values.end() ? nullptr : &*found;
}

const MetricValue& MetricReport::of(std::string_view name) const {
  if (const MetricValue* value = find(name)) return *value;
  throw SystemError("metric \"{}\" was not measured here.", name);
}

std::vector<double> replicate_metrics(const DocumentTable& table, std::uint64_t seed,
                                      ReplicateRange range) {
  const Documents documents = documents_of(table);
  const std::size_t metrics = metric_table().size();
  std::vector<double> out(range.count * metrics, std::numeric_limits<double>::quiet_NaN());
  if (documents.empty()) return out;
  const std::vector<std::size_t> strongest = strongest_dimensions(totals_of(documents, {}, table));
  parallel_for(range.count, [&](std::size_t r) {
    MetricTotals totals =
        totals_of(documents, bootstrap_counts(documents.size(), seed, range.first + r), table);
    totals.strongest = strongest;
    for (std::size_t m = 0; m < metrics; ++m)
      if (applies(metric_table()[m], table))
        if (const auto value = metric_table()[m].value(totals)) out[r * metrics + m] = *value;
  });
  return out;
}

MetricReport metric_report(const DocumentTable& table, std::string_view of,
                           std::span<const double> replicates) {
  const Documents documents = documents_of(table);
  if (documents.empty())
    throw NumericalError(
        "{} has no held-out row to be measured on: all of them are excluded (BOS, padding, special "
        "tokens or sinks). Raise rows.sink_ratio or heldout.rows in a new run folder.",
        of);
  MetricTotals totals = totals_of(documents, {}, table);
  totals.strongest = strongest_dimensions(totals);

  const std::size_t metrics = metric_table().size();
  MetricReport report;
  report.rows = static_cast<std::uint64_t>(totals.rows);
  report.documents = documents.size();
  for (std::size_t m = 0; m < metrics; ++m) {
    const MetricRow& metric = metric_table()[m];
    if (!applies(metric, table) || totals.rows < metric.least_rows) continue;
    const std::optional<double> value = metric.value(totals);
    if (!value && !metric.required) continue;
    std::vector<double> column;
    for (std::size_t r = 0; r < replicates.size() / metrics; ++r)
      column.push_back(replicates[r * metrics + m]);
    MetricValue made = metric_value(of, metric.name, value, column);
    if (metric.counts_the_unseen) {
      const double moved = made.value - mean_of_finite(column);
      made.low = std::clamp(made.low + moved, 0.0, made.value);
      made.high = std::clamp(made.high + moved, made.value, 1.0);
    }
    report.values.push_back(std::move(made));
  }
  return report;
}

DensityHistogram density_histogram(const DocumentTable& table) {
  const MetricTotals totals = totals_of(documents_of(table), {}, table);
  constexpr int kBins = DensityHistogram::kBinsPerDecade * DensityHistogram::kDecades;
  DensityHistogram histogram{.features = std::vector<std::uint64_t>(kBins, 0)};
  for (const std::uint64_t fired : totals.fired) {
    if (fired == 0) {
      ++histogram.never;
      continue;
    }
    const double decades =
        std::log10(static_cast<double>(fired) / totals.rows) + DensityHistogram::kDecades;
    const int bin = static_cast<int>(decades * DensityHistogram::kBinsPerDecade);
    ++histogram.features[static_cast<std::size_t>(std::clamp(bin, 0, kBins - 1))];
  }
  return histogram;
}

}  // namespace refract
