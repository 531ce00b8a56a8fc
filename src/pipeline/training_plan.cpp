#include "refract/pipeline/training_plan.hpp"

#include <algorithm>

namespace refract {

TrainingPlan plan_training(const RunConfig& config, const OrderRule& rule,
                           std::optional<std::uint64_t> corpus_rows) {
  const std::uint64_t asked = wanted_rows(config) / rule.batch_rows * rule.batch_rows;
  const std::uint64_t found = corpus_rows.value_or(asked);
  const std::uint64_t trained = asked ? std::min(asked, found) : found;
  TrainingPlan plan{.rows = asked ? asked : found};
  plan.chunks = trained / rule.chunk_rows + (trained % rule.chunk_rows >= rule.batch_rows ? 1 : 0);
  plan.visits = plan.chunks * config.train.corpus_passes;
  plan.steps =
      plan.rows / rule.batch_rows * config.train.passes_per_chunk * config.train.corpus_passes;
  return plan;
}

}  // namespace refract
