#include "refract/metrics/reconstruction.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/metrics/bootstrap.hpp"
#include "refract/metrics/metric_table.hpp"

namespace refract {
namespace {

void add_row(const MetricRows& rows, std::size_t row, DocumentSums& sums) {
  const auto x = rows.x.row(row), x_hat = rows.x_hat.row(row);
  ++sums.rows;
  for (std::size_t d = 0; d < x.size(); ++d) {
    const double value = static_cast<double>(x[d]), error = value - static_cast<double>(x_hat[d]);
    sums.squared_error += error * error;
    sums.squared_norm += value * value;
    sums.sum_x[d] += value;
    sums.sum_e[d] += error;
  }
  if (rows.row_starts.empty()) return;
  sums.active += static_cast<double>(rows.row_starts[row + 1] - rows.row_starts[row]);
  for (std::size_t j = rows.row_starts[row]; j < rows.row_starts[row + 1]; ++j)
    sums.fired[rows.features[j] / 64] |= std::uint64_t{1} << (rows.features[j] % 64);
}

// Documents in order of their id, each drawn counts[i] times (empty: once).
MetricTotals totals_of(const std::vector<const DocumentSums*>& documents,
                       std::span<const std::uint32_t> counts, std::size_t d_in, std::size_t d_sae) {
  MetricTotals totals{.d_in = d_in, .d_sae = d_sae};
  std::vector<double> sum_x(d_in, 0.0), sum_e(d_in, 0.0);
  std::vector<std::uint64_t> fired((d_sae + 63) / 64, 0);
  for (std::size_t i = 0; i < documents.size(); ++i) {
    if (!counts.empty() && counts[i] == 0) continue;
    const double times = counts.empty() ? 1 : static_cast<double>(counts[i]);
    const DocumentSums& document = *documents[i];
    totals.rows += times * static_cast<double>(document.rows);
    totals.squared_error += times * document.squared_error;
    totals.squared_norm += times * document.squared_norm;
    totals.active += times * document.active;
    for (std::size_t d = 0; d < d_in; ++d) {
      sum_x[d] += times * document.sum_x[d];
      sum_e[d] += times * document.sum_e[d];
    }
    for (std::size_t word = 0; word < fired.size(); ++word) fired[word] |= document.fired[word];
  }
  for (const double value : sum_x) totals.squared_sum_x += value * value;
  for (const double value : sum_e) totals.squared_sum_e += value * value;
  totals.dead = static_cast<double>(d_sae);
  for (const std::uint64_t word : fired) totals.dead -= std::popcount(word);
  return totals;
}

}  // namespace

MetricValue metric_value(std::string_view of, std::string_view name, std::optional<double> value,
                         std::span<const std::optional<double>> replicates) {
  if (!value)
    throw NumericalError(
        "{}: {} has no meaning on these held-out rows: they vary by less than a millionth of their "
        "size. Take another hook point, or raise heldout.rows, in a new run folder.",
        of, name);
  std::vector<double> finite;
  for (const std::optional<double>& replicate : replicates)
    if (replicate && std::isfinite(*replicate)) finite.push_back(*replicate);
  const auto defined = std::ranges::count_if(
      replicates, [](const std::optional<double>& replicate) { return replicate.has_value(); });
  if (!std::isfinite(*value) || finite.size() != static_cast<std::size_t>(defined))
    throw NumericalError(
        "{}: {} is {} on the held-out rows, which are finite: its reconstruction of them is not. A "
        "loss that grows in metrics.jsonl says that training diverged: lower optimizer.lr in a new "
        "run folder.",
        of, name, *value);
  if (finite.empty())
    throw NumericalError(
        "{}: no resample of the held-out documents has a {}: there are too few. Raise heldout.rows "
        "or heldout.share in a new run folder.",
        of, name);
  const Interval interval = percentile_interval(std::move(finite));
  return {std::string(name), *value, interval.low, interval.high};
}

const MetricValue& MetricReport::of(std::string_view name) const {
  for (const MetricValue& value : values)
    if (value.name == name) return value;
  throw SystemError("metric \"{}\" was not measured here.", name);
}

ReconstructionSums::ReconstructionSums(std::size_t d_in, std::size_t d_sae)
    : d_in_(d_in), d_sae_(d_sae) {}

void ReconstructionSums::add(const MetricRows& rows) {
  const std::size_t n = rows.x.axis(0);
  expect_shape(rows.x, "x", {{"n", n}, {"D", d_in_}});
  expect_shape(rows.x_hat, "x_hat", {{"n", n}, {"D", d_in_}});
  REFRACT_ASSERT(rows.documents.size() == n && rows.included.size() == n,
                 "n {} documents {} included {}", n, rows.documents.size(), rows.included.size());
  std::map<std::uint64_t, std::vector<std::uint32_t>> rows_of;
  for (std::size_t row = 0; row < n; ++row)
    if (rows.included[row] != 0)
      rows_of[rows.documents[row]].push_back(static_cast<std::uint32_t>(row));
  std::vector<std::pair<DocumentSums*, const std::vector<std::uint32_t>*>> work;
  for (const auto& [document, of] : rows_of) {
    DocumentSums& sums = documents_[document];
    sums.sum_x.resize(d_in_, 0.0);
    sums.sum_e.resize(d_in_, 0.0);
    sums.fired.resize((d_sae_ + 63) / 64, 0);
    work.emplace_back(&sums, &of);
  }
  parallel_for(work.size(), [&](std::size_t i) {
    for (const std::uint32_t row : *work[i].second) add_row(rows, row, *work[i].first);
  });
}

// A document: id, rows, three sums, sum_x, sum_e, fired.
std::vector<std::uint64_t> ReconstructionSums::packed() const {
  std::vector<std::uint64_t> words;
  const auto put = [&](double value) { words.push_back(std::bit_cast<std::uint64_t>(value)); };
  for (const auto& [document, sums] : documents_) {
    words.push_back(document);
    words.push_back(sums.rows);
    for (const double value : {sums.squared_error, sums.squared_norm, sums.active}) put(value);
    for (const double value : sums.sum_x) put(value);
    for (const double value : sums.sum_e) put(value);
    words.insert(words.end(), sums.fired.begin(), sums.fired.end());
  }
  return words;
}

void ReconstructionSums::add_packed(std::span<const std::uint64_t> words) {
  const std::size_t fired_words = (d_sae_ + 63) / 64, each = 5 + 2 * d_in_ + fired_words;
  REFRACT_ASSERT(words.size() % each == 0, "{} words, {} each document", words.size(), each);
  for (; !words.empty(); words = words.subspan(each)) {
    std::size_t at = 0;
    const auto take = [&](double& sum) { sum += std::bit_cast<double>(words[at++]); };
    DocumentSums& sums = documents_[words[at++]];
    sums.sum_x.resize(d_in_, 0.0);
    sums.sum_e.resize(d_in_, 0.0);
    sums.fired.resize(fired_words, 0);
    sums.rows += words[at++];
    for (double* sum : {&sums.squared_error, &sums.squared_norm, &sums.active}) take(*sum);
    for (double& sum : sums.sum_x) take(sum);
    for (double& sum : sums.sum_e) take(sum);
    for (std::uint64_t& word : sums.fired) word |= words[at++];
  }
}

MetricReport ReconstructionSums::report(std::string_view of, std::uint64_t seed,
                                        std::size_t replicates) const {
  if (documents_.empty())
    throw NumericalError(
        "{} has no held-out row to be measured on: all of them are excluded (BOS, padding, special "
        "tokens or sinks). Raise rows.sink_ratio or heldout.rows in a new run folder.",
        of);
  std::vector<const DocumentSums*> documents;
  for (const auto& [document, sums] : documents_) documents.push_back(&sums);
  std::vector<MetricTotals> samples(replicates);
  parallel_for(replicates, [&](std::size_t replicate) {
    samples[replicate] =
        totals_of(documents, bootstrap_counts(documents.size(), seed, replicate), d_in_, d_sae_);
  });
  const MetricTotals totals = totals_of(documents, {}, d_in_, d_sae_);

  MetricReport report;
  report.rows = static_cast<std::uint64_t>(totals.rows);
  report.documents = documents.size();
  for (const MetricRow& metric : metric_table()) {
    if (metric.needs_features && d_sae_ == 0) continue;
    std::vector<std::optional<double>> values;
    for (const MetricTotals& sample : samples) values.push_back(metric.value(sample));
    MetricValue made = metric_value(of, metric.name, metric.value(totals), values);
    if (metric.counts_the_unseen) {
      const double reflected = std::max(0.0, 2 * made.value - made.high);
      made.high = std::max(0.0, 2 * made.value - made.low);
      made.low = reflected;
    }
    report.values.push_back(std::move(made));
  }
  return report;
}

}  // namespace refract
