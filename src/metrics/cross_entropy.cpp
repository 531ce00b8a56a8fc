#include "refract/metrics/cross_entropy.hpp"

#include <array>
#include <cmath>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/metrics/bootstrap.hpp"

namespace refract {

CrossEntropySums::CrossEntropySums(std::size_t runs) : runs_(runs) {}

void CrossEntropySums::add(std::size_t run, std::span<const float> nll,
                           std::span<const std::uint64_t> documents) {
  REFRACT_ASSERT(run < runs_ && nll.size() == documents.size(), "run {} nll {} documents {}", run,
                 nll.size(), documents.size());
  for (std::size_t i = 0; i < nll.size(); ++i) {
    if (std::isnan(nll[i])) continue;
    Document& document = documents_[documents[i]];
    document.nll.resize(runs_, 0.0);
    document.nll[run] += static_cast<double>(nll[i]);
    if (run == 0) ++document.tokens;
  }
}

MetricReport CrossEntropySums::report(const Runs& runs, std::uint64_t seed,
                                      std::size_t replicates) const {
  std::vector<const Document*> documents;
  for (const auto& [id, document] : documents_) documents.push_back(&document);
  constexpr std::size_t kValues = 7;
  const auto values_of = [&](std::span<const std::uint32_t> counts) {
    double tokens = 0, clean = 0, spliced = 0, zero = 0, mean = 0;
    for (std::size_t i = 0; i < documents.size(); ++i) {
      const double times = counts.empty() ? 1 : static_cast<double>(counts[i]);
      const std::vector<double>& nll = documents[i]->nll;
      tokens += times * static_cast<double>(documents[i]->tokens);
      clean += times * nll[runs.clean];
      spliced += times * nll[runs.spliced];
      zero += times * nll[runs.zero];
      mean += times * nll[runs.mean];
    }
    return std::array<double, kValues>{clean / tokens,
                                       spliced / tokens,
                                       zero / tokens,
                                       mean / tokens,
                                       (spliced - clean) / tokens,
                                       (zero - spliced) / (zero - clean),
                                       (mean - spliced) / (mean - clean)};
  };
  std::vector<std::array<double, kValues>> samples(replicates);
  parallel_for(replicates, [&](std::size_t replicate) {
    samples[replicate] = values_of(bootstrap_counts(documents.size(), seed, replicate));
  });

  constexpr const char* kNames[kValues] = {"ce_clean",         "ce_sae",   "ce_zero",
                                           "ce_mean",          "delta_ce", "ce_recovered_zero",
                                           "ce_recovered_mean"};
  MetricReport report;
  report.documents = documents.size();
  for (const Document* document : documents) report.rows += document->tokens;
  const std::array<double, kValues> values = values_of({});
  for (std::size_t i = 0; i < kValues; ++i) {
    std::vector<double> column;
    for (const auto& sample : samples) column.push_back(sample[i]);
    const Interval interval = percentile_interval(std::move(column));
    report.values.push_back({kNames[i], values[i], interval.low, interval.high});
  }
  return report;
}

}  // namespace refract
