#include "refract/metrics/cross_entropy.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/metrics/bootstrap.hpp"

namespace refract {

CrossEntropySums::CrossEntropySums(std::vector<std::string> runs) : runs_(std::move(runs)) {}

void CrossEntropySums::add(std::size_t run, std::span<const float> nll,
                           std::span<const std::uint8_t> counted,
                           std::span<const std::uint64_t> documents) {
  REFRACT_ASSERT(
      run < runs_.size() && nll.size() == documents.size() && nll.size() == counted.size(),
      "run {} nll {} counted {} documents {}", run, nll.size(), counted.size(), documents.size());
  for (std::size_t i = 0; i < nll.size(); ++i) {
    if (counted[i] == 0) continue;
    if (!std::isfinite(nll[i]))
      throw NumericalError(
          "cross-entropy with {}: the loss of token {} of its call (document {} of shard {}) is "
          "{}. Set evaluate.ce: false to go without, or take another model.",
          runs_[run], i, documents[i] & 0xFFFFFFFFu, documents[i] >> 32, nll[i]);
    Document& document = documents_[documents[i]];
    document.nll.resize(runs_.size(), 0.0);
    document.nll[run] += static_cast<double>(nll[i]);
    if (run == 0) ++document.tokens;
  }
}

MetricReport CrossEntropySums::report(const Runs& runs, std::uint64_t seed,
                                      std::size_t replicates) const {
  if (documents_.empty())
    throw NumericalError(
        "cross-entropy of {}: no held-out token has a successor to predict. Raise heldout.rows or "
        "set evaluate.ce: false.",
        runs_[runs.spliced]);
  std::vector<const Document*> documents;
  for (const auto& [id, document] : documents_) documents.push_back(&document);
  constexpr std::size_t kValues = 7;
  using Values = std::array<std::optional<double>, kValues>;
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
    const auto recovered = [&](double ablated) {
      return ablated != clean ? std::optional((ablated - spliced) / (ablated - clean))
                              : std::nullopt;
    };
    return Values{clean / tokens, spliced / tokens,           zero / tokens,
                  mean / tokens,  (spliced - clean) / tokens, recovered(zero),
                  recovered(mean)};
  };
  std::vector<Values> samples(replicates);
  parallel_for(replicates, [&](std::size_t replicate) {
    samples[replicate] = values_of(bootstrap_counts(documents.size(), seed, replicate));
  });

  constexpr const char* kNames[kValues] = {"ce_clean",         "ce_sae",   "ce_zero",
                                           "ce_mean",          "delta_ce", "ce_recovered_zero",
                                           "ce_recovered_mean"};
  MetricReport report;
  report.documents = documents.size();
  for (const Document* document : documents) report.rows += document->tokens;
  const Values values = values_of({});
  for (std::size_t i = 0; i < kValues; ++i) {
    if (!values[i]) continue;
    std::vector<double> column;
    for (const Values& sample : samples)
      column.push_back(sample[i].value_or(std::numeric_limits<double>::quiet_NaN()));
    report.values.push_back(metric_value(runs_[runs.spliced], kNames[i], values[i], column));
  }
  return report;
}

}  // namespace refract
