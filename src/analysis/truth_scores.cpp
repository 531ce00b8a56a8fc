#include "refract/analysis/truth_scores.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "refract/analysis/assignment.hpp"
#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/tensor/dot.hpp"

namespace refract {
namespace {

double fp64_dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t d = 0; d < a.size(); ++d)
    sum += static_cast<double>(a[d]) * static_cast<double>(b[d]);
  return sum;
}

double quotient(double numerator, double denominator) {
  return denominator > 0 ? numerator / denominator : 0;
}

}  // namespace

Cosines absolute_cosines(TensorView<const float> learned, TensorView<const float> truth) {
  const std::size_t F = learned.axis(0), G = truth.axis(0), D = truth.axis(1);
  expect_shape(learned, "learned", {{"F", F}, {"D", D}});
  Cosines out{.learned = F, .truth = G, .values = std::vector<double>(F * G)};
  std::vector<double> norms(G);
  for (std::size_t g = 0; g < G; ++g) norms[g] = norm_of(truth.row(g));
  parallel_for(F, [&](std::size_t f) {
    const double norm = norm_of(learned.row(f));
    for (std::size_t g = 0; g < G; ++g)
      out.values[f * G + g] =
          quotient(std::abs(fp64_dot(learned.row(f), truth.row(g))), norm * norms[g]);
  });
  return out;
}

std::vector<std::uint32_t> best_matches(const Cosines& cosines) {
  std::vector<std::uint32_t> best;
  for (std::size_t f = 0; f < cosines.learned; ++f) {
    const auto row = cosines.of(f);
    best.push_back(static_cast<std::uint32_t>(std::ranges::max_element(row) - row.begin()));
  }
  return best;
}

double uniqueness(std::span<const std::uint32_t> best) {
  const std::set<std::uint32_t> distinct(best.begin(), best.end());
  return quotient(static_cast<double>(distinct.size()), static_cast<double>(best.size()));
}

double mean_correlation(const Cosines& cosines) {
  const auto pairs = best_assignment(cosines.values, cosines.learned, cosines.truth);
  double sum = 0;
  for (const auto& [f, g] : pairs) sum += cosines.of(f)[g];
  return quotient(sum, static_cast<double>(pairs.size()));
}

FiringCounts::FiringCounts(std::vector<std::uint32_t> best, std::size_t truth)
    : best_(std::move(best)), counts_(2 * best_.size() + truth, 0), true_now_(truth, 0) {}

void FiringCounts::add(const ActiveRows& learned, const ActiveRows& truth) {
  REFRACT_ASSERT(learned.row_starts.size() == truth.row_starts.size(), "{} and {} row starts",
                 learned.row_starts.size(), truth.row_starts.size());
  const std::size_t F = best_.size();
  const auto row_of = [](const ActiveRows& rows, std::size_t i) {
    return rows.features.subspan(rows.row_starts[i], rows.row_starts[i + 1] - rows.row_starts[i]);
  };
  for (std::size_t i = 0; i + 1 < truth.row_starts.size(); ++i) {
    for (const std::uint32_t g : row_of(truth, i)) {
      ++counts_[2 * F + g];
      true_now_[g] = 1;
    }
    for (const std::uint32_t f : row_of(learned, i)) {
      ++counts_[f];
      counts_[F + f] += true_now_[best_[f]];
    }
    for (const std::uint32_t g : row_of(truth, i)) true_now_[g] = 0;
  }
}

TruthScores FiringCounts::scores() const {
  const std::size_t F = best_.size();
  TruthScores sum;
  for (std::size_t f = 0; f < F; ++f) {
    const auto hits = static_cast<double>(counts_[F + f]);
    const double precision = quotient(hits, static_cast<double>(counts_[f])),
                 recall = quotient(hits, static_cast<double>(counts_[2 * F + best_[f]]));
    sum.precision += precision;
    sum.recall += recall;
    sum.f1 += quotient(2 * precision * recall, precision + recall);
  }
  for (double* score : {&sum.precision, &sum.recall, &sum.f1})
    *score = quotient(*score, static_cast<double>(F));
  return sum;
}

}  // namespace refract
