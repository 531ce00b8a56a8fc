#pragma once
// What replacing activations by their reconstruction costs the model, in nats per token: in its
// loss, and in how far what it predicts is from what it would have predicted.
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "refract/metrics/reconstruction.hpp"

namespace refract {

// Sums over tokens for each document, of the clean model and of its spliced runs.
class SplicedLossSums {
 public:
  // What each run is, for messages: "the model itself", "SAE 'small'".
  explicit SplicedLossSums(std::vector<std::string> runs);
  // nll [n]: next-token negative log-likelihood. kl [n]: divergence of the run's prediction from
  // the clean one (ops/token_kl.hpp); empty for the clean run itself. Only tokens with counted[i]
  // != 0 are. Every run is given the same tokens. NumericalError naming the run, the token's place
  // and its document when a number is not finite.
  void add(std::size_t run, std::span<const float> nll, std::span<const float> kl,
           std::span<const std::uint8_t> counted, std::span<const std::uint64_t> documents);

  struct Runs {
    std::size_t clean, spliced, zero, mean;
  };
  // ce_clean, ce_sae, ce_zero, ce_mean; delta_ce = ce_sae - ce_clean; ce_recovered_zero and
  // ce_recovered_mean = (ce_ablated - ce_sae) / (ce_ablated - ce_clean); kl_sae, kl_zero, kl_mean;
  // kl_score_zero and kl_score_mean = (kl_ablated - kl_sae) / kl_ablated. Means over tokens first,
  // ratios of them last (reference/analysis.md B2); a ratio is left out of the report where the
  // ablation changes nothing. `rows` of the report are tokens. NumericalError as metric_value, and
  // when no token was counted.
  [[nodiscard]] MetricReport report(const Runs& runs, std::uint64_t seed,
                                    std::size_t replicates = 1000) const;

 private:
  struct Document {
    std::uint64_t tokens = 0;
    std::vector<double> nll, kl;  // [runs]
  };
  std::vector<std::string> runs_;
  std::map<std::uint64_t, Document> documents_;
};

}  // namespace refract
