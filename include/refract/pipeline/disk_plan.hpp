#pragma once
// What a run keeps on disk, by class, and how many chunks the quota allows: from settings and
// corpus alone, so that eviction is the same after a resume and for any number of ranks.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "refract/lm/language_model.hpp"
#include "refract/pipeline/run_config.hpp"

namespace refract {

struct DiskPlan {
  std::vector<std::pair<std::string, std::uint64_t>>
      classes;  // all but chunks, bytes at their peak
  std::uint64_t chunk_bytes = 0;
  std::uint64_t chunks_wanted = 0;   // if nothing were evicted
  std::uint64_t chunks_allowed = 0;  // by disk.max_bytes
  [[nodiscard]] std::uint64_t fixed_bytes() const;
};

// SAELens folders that `rule` keeps of so many visits, at most.
[[nodiscard]] std::uint64_t kept_exports(const KeepRule& rule, std::uint64_t visits);
// Values of a row that an SAE reads and that it reconstructs: every hook point is d_model wide.
[[nodiscard]] std::uint64_t input_width(const SaeConfig& sae, const ModelInfo& model);
[[nodiscard]] std::uint64_t target_width(const SaeConfig& sae, const ModelInfo& model);
// Of W_enc [F, d_in], b_enc [F], W_dec [F, d_out] and b_dec [d_out].
[[nodiscard]] std::uint64_t sae_parameters(const SaeConfig& sae, const ModelInfo& model);
// What is kept of each: fp32, the weight, Adam's two moments and, with ema, the mean.
[[nodiscard]] std::uint64_t parameter_bytes(const SaeConfig& sae);
[[nodiscard]] std::uint64_t trainer_state_bytes(const SaeConfig& sae, const ModelInfo& model);

// corpus_bytes: shards and tokens; rows: to train on; visits: checkpoints to come.
[[nodiscard]] DiskPlan plan_disk(const RunConfig& config, const ModelInfo& model,
                                 std::uint64_t corpus_bytes, std::uint64_t chunks,
                                 std::uint64_t visits);
// ConfigError with the sum when not even one chunk fits (or, in keep, not all).
void check_disk(const DiskPlan& plan, const RunConfig& config);

}  // namespace refract
