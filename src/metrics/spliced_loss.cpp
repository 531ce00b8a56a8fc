#include "refract/metrics/spliced_loss.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/metrics/bootstrap.hpp"

namespace refract {

SplicedLossSums::SplicedLossSums(std::vector<std::string> runs) : runs_(std::move(runs)) {}

void SplicedLossSums::add(std::size_t run, std::span<const float> nll, std::span<const float> kl,
                          std::span<const std::uint8_t> counted,
                          std::span<const std::uint64_t> documents) {
  REFRACT_ASSERT(run < runs_.size() && nll.size() == documents.size() &&
                     (kl.empty() || kl.size() == nll.size()) && nll.size() == counted.size(),
                 "run {} nll {} kl {} counted {} documents {}", run, nll.size(), kl.size(),
                 counted.size(), documents.size());
  const auto expect_finite = [&](std::string_view what, float value, std::size_t token) {
    if (std::isfinite(value)) return;
    throw NumericalError(
        "cross-entropy with {}: the {} of token {} (document {} of shard {}) is {}. "
        "Set evaluate.ce: false to go without, or take another model.",
        runs_[run], what, token, documents[token] & 0xFFFFFFFFu, documents[token] >> 32, value);
  };
  for (std::size_t i = 0; i < nll.size(); ++i) {
    if (counted[i] == 0) continue;
    expect_finite("loss", nll[i], i);
    Document& document = documents_[documents[i]];
    document.nll.resize(runs_.size(), 0.0);
    document.kl.resize(runs_.size(), 0.0);
    document.nll[run] += static_cast<double>(nll[i]);
    if (!kl.empty()) {
      expect_finite("divergence", kl[i], i);
      document.kl[run] += static_cast<double>(kl[i]);
    }
    if (run == 0) ++document.tokens;
  }
}

MetricReport SplicedLossSums::report(const Runs& runs, std::uint64_t seed,
                                     std::size_t replicates) const {
  if (documents_.empty())
    throw NumericalError(
        "cross-entropy of {}: no held-out token has a successor to predict. Raise heldout.rows or "
        "set evaluate.ce: false.",
        runs_[runs.spliced]);
  std::vector<const Document*> documents;
  for (const auto& [id, document] : documents_) documents.push_back(&document);
  constexpr std::array kNames{
      "ce_clean",          "ce_sae", "ce_zero", "ce_mean", "delta_ce",      "ce_recovered_zero",
      "ce_recovered_mean", "kl_sae", "kl_zero", "kl_mean", "kl_score_zero", "kl_score_mean"};
  using Values = std::array<std::optional<double>, kNames.size()>;
  const auto values_of = [&](std::span<const std::uint32_t> counts) {
    double tokens = 0;
    std::vector<double> nll(runs_.size(), 0.0), kl(runs_.size(), 0.0);
    for (std::size_t i = 0; i < documents.size(); ++i) {
      const double times = counts.empty() ? 1 : static_cast<double>(counts[i]);
      tokens += times * static_cast<double>(documents[i]->tokens);
      for (const std::size_t run : {runs.clean, runs.spliced, runs.zero, runs.mean}) {
        nll[run] += times * documents[i]->nll[run];
        kl[run] += times * documents[i]->kl[run];
      }
    }
    // What the SAE keeps of what the ablation loses: 0 as bad as it, 1 as good as the model.
    const auto kept = [](double clean, double spliced, double ablated) {
      return ablated != clean ? std::optional((ablated - spliced) / (ablated - clean))
                              : std::nullopt;
    };
    const double clean = nll[runs.clean], spliced = nll[runs.spliced];
    return Values{clean / tokens,
                  spliced / tokens,
                  nll[runs.zero] / tokens,
                  nll[runs.mean] / tokens,
                  (spliced - clean) / tokens,
                  kept(clean, spliced, nll[runs.zero]),
                  kept(clean, spliced, nll[runs.mean]),
                  kl[runs.spliced] / tokens,
                  kl[runs.zero] / tokens,
                  kl[runs.mean] / tokens,
                  kept(0, kl[runs.spliced], kl[runs.zero]),
                  kept(0, kl[runs.spliced], kl[runs.mean])};
  };
  std::vector<Values> samples(replicates);
  parallel_for(replicates, [&](std::size_t replicate) {
    samples[replicate] = values_of(bootstrap_counts(documents.size(), seed, replicate));
  });

  MetricReport report;
  report.documents = documents.size();
  for (const Document* document : documents) report.rows += document->tokens;
  const Values values = values_of({});
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (!values[i]) continue;
    std::vector<double> column;
    for (const Values& sample : samples)
      column.push_back(sample[i].value_or(std::numeric_limits<double>::quiet_NaN()));
    report.values.push_back(metric_value(runs_[runs.spliced], kNames[i], values[i], column));
  }
  return report;
}

}  // namespace refract
