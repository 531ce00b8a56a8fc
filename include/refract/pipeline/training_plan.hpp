#pragma once
// How long training is: from the settings and the rows there are, for the dry run as for the run.
#include <cstdint>
#include <optional>

#include "refract/order/sample_order.hpp"
#include "refract/pipeline/run_config.hpp"
#include "refract/stages/train.hpp"

namespace refract {

struct TrainingPlan {
  std::uint64_t rows = 0;  // distinct ones: those asked for, in whole batches, or all there are
  std::uint64_t chunks = 0;
  std::uint64_t visits = 0;  // chunks x corpus_passes
  std::uint64_t steps = 0;
  [[nodiscard]] std::uint64_t chunk_of(std::uint64_t visit) const { return visit % chunks; }
};

// corpus_rows: of the whole corpus, where they are known (or estimated); with a number in
// train.tokens the plan is that number's while they are not, and nothing without. A corpus that
// turns out shorter than what was asked for has fewer chunks; the schedules (steps) stay those of
// what was asked for.
[[nodiscard]] TrainingPlan plan_training(const RunConfig& config, const OrderRule& rule,
                                         std::optional<std::uint64_t> corpus_rows);

}  // namespace refract
