#pragma once
// How well learned features agree with the true ones of a planted truth. Learned feature f is held
// against its best true feature: the one with the largest |cosine| of decoder rows.
//
//   precision   mean over learned features f of TP / (TP + FP)     a positive: a row in which f
//   recall      mean over f of TP / (TP + FN)                      fires; true: in which f's best
//   F1          mean over f of 2 p r / (p + r)                     true feature does
//   uniqueness  distinct best true features / learned features
//   MCC         mean |cosine| over the one-to-one matching of learned and true features with the
//               largest sum, of min(F, G) pairs
//
// A quotient without a denominator is 0: a feature that never fires has precision 0. All five are
// SynthSAEBench's numbers (sae_lens.synthetic.evals, 2026), with its rules for ties (the lower
// index) and for what is undefined; they differ in rounding alone, since cosines are taken in fp64
// here. So F1 is the mean of the features' F1, not the F1 of the means, and a learned feature that
// is dead lowers all of the first three. MCC is the mean correlation coefficient with the truth
// (arXiv 2505.20254), nothing to do with Matthews'.
#include <cstdint>
#include <span>
#include <vector>

#include "refract/tensor/tensor.hpp"

namespace refract {

struct TruthScores {
  double precision = 0, recall = 0, f1 = 0, uniqueness = 0, mcc = 0;
};

// |cosine| of each learned row with each true row, in fp64; 0 with a row of zeros.
struct Cosines {
  std::size_t learned = 0, truth = 0;
  std::vector<double> values;  // [F, G]
  [[nodiscard]] std::span<const double> of(std::size_t f) const {
    return std::span(values).subspan(f * truth, truth);
  }
};
[[nodiscard]] Cosines absolute_cosines(TensorView<const float> learned,         // [F, D]
                                       TensorView<const float> truth);          // [G, D]
[[nodiscard]] std::vector<std::uint32_t> best_matches(const Cosines& cosines);  // [F]
[[nodiscard]] double uniqueness(std::span<const std::uint32_t> best);
[[nodiscard]] double mean_correlation(const Cosines& cosines);

// Which features are active in rows, as compressed rows: entries row_starts[i] .. row_starts[i + 1]
// belong to row i. Entries whose value is 0 are not listed.
struct ActiveRows {
  std::span<const std::uint64_t> row_starts;  // [n + 1]
  std::span<const std::uint32_t> features;
};

// Counts firings; whole numbers, so that counts of parts add up to those of the whole.
class FiringCounts {
 public:
  FiringCounts(std::vector<std::uint32_t> best, std::size_t truth);  // best [F], of G = truth
  void add(const ActiveRows& learned, const ActiveRows& truth);      // the same rows
  // [2 F + G]: rows in which f fires; in which its best fires too; in which g fires.
  [[nodiscard]] std::span<std::uint64_t> counts() { return counts_; }
  // precision, recall and f1; the others are left 0.
  [[nodiscard]] TruthScores scores() const;

 private:
  std::vector<std::uint32_t> best_;
  std::vector<std::uint64_t> counts_;
  std::vector<std::uint8_t> true_now_;  // [G] scratch: fires in the row at hand
};

}  // namespace refract
