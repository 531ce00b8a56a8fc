#pragma once
// One optimisation step on one rank: the sequence of include/refract/sae/variant.hpp without any
// exchange.
#include <cmath>
#include <span>
#include <vector>

#include "refract/sae/initialise.hpp"
#include "refract/sae/optimizer.hpp"
#include "refract/sae/variant.hpp"
#include "refract/sae/weight_gradients.hpp"

namespace refract::testing_support {

struct StepGradients {
  FeatureGradients features;
  PanelSums panels;
  BiasGradient bias;
};

// Measure to gradients; `parts` are the ranks' rows of the global batch, in rank order.
inline std::vector<GlobalStats> measure_all(const Variant& variant, const SaeState& state,
                                            std::span<const Batch> parts,
                                            std::vector<std::unique_ptr<StepScratch>>& scratch) {
  std::vector<GlobalStats> global;
  scratch.clear();
  for (std::size_t i = 0; i < parts.size(); ++i) scratch.push_back(variant.make_scratch());
  for (int round = 0; round < variant.measure_rounds(); ++round) {
    GlobalStats sum;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      Stats stats;
      variant.measure(round, state, parts[i], global, *scratch[i], stats);
      add_stats(stats, sum);
    }
    global.push_back(std::move(sum));
  }
  return global;
}

inline StepGradients step_gradients(const Variant& variant, const SaeState& state,
                                    const Batch& batch, std::vector<GlobalStats>& global) {
  std::vector<std::unique_ptr<StepScratch>> scratch;
  global = measure_all(variant, state, {&batch, 1}, scratch);
  RowGradients rows;
  variant.gradients(state, batch, global, *scratch[0], rows);
  WeightGradients weights;
  weights.gather(state.parameters, batch.x, rows);
  StepGradients out;
  out.features = make_feature_gradients(state.parameters, 0, state.parameters.d_sae());
  weights.accumulate(state.parameters, out.features);
  finish_gradients(state.parameters, out.features, out.panels);
  std::vector<double> decoder_part(state.parameters.d_in());
  variant.decoder_bias_gradient(global, decoder_part);
  out.bias = bias_gradient(decoder_part, out.panels);
  return out;
}

inline StepLog one_rank_step(const Variant& variant, SaeState& state, const Batch& batch,
                             const OptimizerConfig& optimizer, std::uint64_t steps, double clip) {
  std::vector<GlobalStats> global;
  const StepGradients gradients = step_gradients(variant, state, batch, global);
  StepLog log;
  log.grad_norm = std::sqrt(gradients.bias.squared_norm);
  log.lr = learning_rate(optimizer, state.step, steps);
  const AdamStep step{optimizer, log.lr, clip_scale(log.grad_norm, clip), state.step + 1};
  adam_update(state, gradients.features, step);
  adam_update_b_dec(state, gradients.bias.db_dec, step);
  ++state.step;
  variant.finish(state, batch, global, log);
  if (batch.first_pass) state.trained_rows += log.included_rows;
  return log;
}

}  // namespace refract::testing_support
