#pragma once
// What replacing activations by their reconstruction costs the model, in nats per token.
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "refract/metrics/reconstruction.hpp"

namespace refract {

// Sums of next-token negative log-likelihood for each document, of the clean model and of its
// spliced runs.
class CrossEntropySums {
 public:
  explicit CrossEntropySums(std::size_t runs);
  // nll [n]; NaN (no successor) is left out. Every run is given the same tokens.
  void add(std::size_t run, std::span<const float> nll, std::span<const std::uint64_t> documents);

  struct Runs {
    std::size_t clean, spliced, zero, mean;
  };
  // ce_clean, ce_sae, ce_zero, ce_mean; delta_ce = ce_sae - ce_clean; ce_recovered_zero and
  // ce_recovered_mean = (ce_ablated - ce_sae) / (ce_ablated - ce_clean). `rows` of the report are
  // tokens.
  [[nodiscard]] MetricReport report(const Runs& runs, std::uint64_t seed,
                                    std::size_t replicates = 1000) const;

 private:
  struct Document {
    std::uint64_t tokens = 0;
    std::vector<double> nll;  // [runs]
  };
  std::size_t runs_;
  std::map<std::uint64_t, Document> documents_;
};

}  // namespace refract
